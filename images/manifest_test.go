package images

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// published makes a catalog with one version, web:1, of the files that write makes in its tree.
func published(t *testing.T, write func(tree string)) (*Catalog, Image) {
	t.Helper()
	c := &Catalog{Dir: t.TempDir()}
	return c, publishNext(t, c, "web", write)
}

// publishNext publishes one more version.
func publishNext(t *testing.T, c *Catalog, name string, write func(tree string)) Image {
	t.Helper()
	unlock, err := c.lock(name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	partial, err := c.newPartial(name)
	must(t, err)
	tree := filepath.Join(partial, TreeDir)
	must(t, os.MkdirAll(tree, 0o755))
	must(t, os.WriteFile(filepath.Join(partial, KernelFile), []byte("kernel"), 0o644))
	must(t, os.WriteFile(filepath.Join(partial, InitrdFile), []byte("initrd"), 0o644))
	if write != nil {
		write(tree)
	}
	img, err := c.finish(t.Context(), partial, Image{Ref: Ref{Name: name}}, func(Stage, string) {})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// oddNames are legal and break careless manifests.
var oddNames = []string{"two\nlines", "not utf-8 \xff\xfe", `quo"te`, " leading", "back\\slash", "é", "tab\t"}

func oddTree(t *testing.T) func(string) {
	return func(tree string) {
		for _, n := range oddNames {
			must(t, os.WriteFile(filepath.Join(tree, n), []byte(n), 0o644))
		}
		must(t, os.Symlink("a \"b\"\n\xff", filepath.Join(tree, "link")))
		must(t, os.Mkdir(filepath.Join(tree, "dir"), 0o755))
		must(t, os.Chmod(filepath.Join(tree, "dir"), 0o777|os.ModeSticky))
		must(t, os.WriteFile(filepath.Join(tree, "dir", "su"), []byte("su"), 0o600))
		must(t, os.Chmod(filepath.Join(tree, "dir", "su"), 0o755|os.ModeSetuid))
		must(t, unix.Mkfifo(filepath.Join(tree, "fifo"), 0o600))
	}
}

func TestVerifyFindsNothingInAnUntouchedImage(t *testing.T) {
	c, img := published(t, oddTree(t))
	problems, err := c.Verify(t.Context(), img.Ref)
	if err != nil || len(problems) > 0 {
		t.Fatalf("Verify = %v, %v", problems, err)
	}
	if want := len(oddNames) + 4; img.Files != want {
		t.Errorf("Files = %d, want %d", img.Files, want)
	}
}

func TestVerifyFindsEveryChange(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(dir string) error
		path string // what Verify must name, and nothing else
		what string // begin of its What
	}{
		"flipped bit": {func(d string) error {
			return os.WriteFile(filepath.Join(d, TreeDir, "two\nlines"), []byte("two\nlinet"), 0o644)
		}, "tree/two\nlines", "changed"},
		"mode":        {func(d string) error { return os.Chmod(filepath.Join(d, TreeDir, "é"), 0o664) }, "tree/é", "changed"},
		"setuid lost": {func(d string) error { return os.Chmod(filepath.Join(d, TreeDir, "dir/su"), 0o755) }, "tree/dir/su", "changed"},
		"sticky lost": {func(d string) error { return os.Chmod(filepath.Join(d, TreeDir, "dir"), 0o777) }, "tree/dir", "changed"},
		"missing":     {func(d string) error { return os.Remove(filepath.Join(d, TreeDir, "not utf-8 \xff\xfe")) }, "tree/not utf-8 \xff\xfe", "missing"},
		"extra":       {func(d string) error { return os.WriteFile(filepath.Join(d, TreeDir, "new\xff"), nil, 0o644) }, "tree/new\xff", "extra"},
		"link": {func(d string) error {
			p := filepath.Join(d, TreeDir, "link")
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Symlink("elsewhere", p)
		}, "tree/link", "changed"},
		"kind": {func(d string) error {
			p := filepath.Join(d, TreeDir, "fifo")
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.WriteFile(p, nil, 0o600)
		}, "tree/fifo", "changed"},
		"kernel":         {func(d string) error { return os.WriteFile(filepath.Join(d, KernelFile), []byte("kernfl"), 0o644) }, KernelFile, "changed"},
		"initrd missing": {func(d string) error { return os.Remove(filepath.Join(d, InitrdFile)) }, InitrdFile, "missing"},
		"manifest line dropped": {func(d string) error {
			p := filepath.Join(d, ManifestFile)
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			lines := strings.SplitAfter(string(b), "\n")
			return os.WriteFile(p, []byte(strings.Join(append(lines[:2:2], lines[3:]...), "")), 0o644)
		}, ManifestFile, "changed"},
		"manifest missing": {func(d string) error { return os.Remove(filepath.Join(d, ManifestFile)) }, ManifestFile, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			c, img := published(t, oddTree(t))
			must(t, change.do(img.Dir))
			problems, err := c.Verify(t.Context(), img.Ref)
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) == 0 || problems[0].Path != change.path || !strings.HasPrefix(problems[0].What, change.what) {
				t.Errorf("Verify = %v, want %q %s", problems, change.path, change.what)
			}
		})
	}
}

func TestVerifyFindsOwnersDevicesAndCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners, devices and capabilities")
	}
	// cap_net_raw+ep, in the kernel's format (struct vfs_cap_data, revision 2).
	raw := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for name, change := range map[string]func(tree string) error{
		"owner":      func(tree string) error { return os.Lchown(filepath.Join(tree, "ping"), 0, 1) },
		"capability": func(tree string) error { return unix.Lremovexattr(filepath.Join(tree, "ping"), "security.capability") },
		"device": func(tree string) error {
			p := filepath.Join(tree, "null")
			if err := os.Remove(p); err != nil {
				return err
			}
			return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, img := published(t, func(tree string) {
				must(t, os.WriteFile(filepath.Join(tree, "ping"), nil, 0o755))
				must(t, unix.Lsetxattr(filepath.Join(tree, "ping"), "security.capability", raw, 0))
				must(t, unix.Mknod(filepath.Join(tree, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
			})
			must(t, change(filepath.Join(img.Dir, TreeDir)))
			problems, err := c.Verify(t.Context(), img.Ref)
			if err != nil || len(problems) != 1 {
				t.Fatalf("Verify = %v, %v; want one problem", problems, err)
			}
		})
	}
}

func TestTheDigestFollowsTheContentAlone(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	a := publishNext(t, c, "web", oddTree(t))
	b := publishNext(t, c, "web", oddTree(t)) // other times, another directory
	if a.Digest != b.Digest {
		t.Errorf("equal trees have digests %s and %s", a.Digest, b.Digest)
	}
	d := publishNext(t, c, "web", func(tree string) {
		oddTree(t)(tree)
		must(t, os.Chmod(filepath.Join(tree, "é"), 0o600))
	})
	if d.Digest == a.Digest {
		t.Error("another mode has the same digest")
	}
}

func FuzzManifest(f *testing.F) {
	for _, n := range oddNames {
		for _, e := range []entry{
			{path: "tree/" + n, kind: 'l', target: n, mode: 0o777},
			{path: "tree/" + n, kind: 'f', size: 7, mode: 0o4755, xattrs: []xattr{{n, n}, {n + "b", ""}}},
			{path: "tree/" + n, kind: 'd', uid: 1 << 31},
			{path: KernelFile, kind: 'c', major: 1, minor: 3},
		} {
			f.Add(e.String())
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parseEntry(line)
		if err != nil {
			return
		}
		if got := e.String(); got != line {
			t.Fatalf("parsed and encoded: %q, want %q", got, line)
		}
		if kind, sum, path := lineFields([]byte(line)); kind != e.kind || !strings.HasPrefix(path, strconv.QuoteToASCII(e.path)) ||
			(kind == 'f' || kind == 'd') != (sum == hex.EncodeToString(e.sum[:])) {
			t.Fatalf("lineFields(%q) = %c %s %s", line, kind, sum, path)
		}
	})
}
