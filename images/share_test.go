package images

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var longAgo = time.Unix(1_600_000_000, 0)

// putFile writes a file of the tree with a time of its own.
func putFile(t testing.TB, tree, name, content string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(tree, name)
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600), os.Chmod(path, mode),
		os.Chtimes(path, longAgo, longAgo),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stored says whether two paths are one file.
func stored(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := os.Lstat(a)
	if err == nil {
		var y fs.FileInfo
		if y, err = os.Lstat(b); err == nil {
			return os.SameFile(x, y)
		}
	}
	t.Fatal(err)
	return false
}

func bigContent(seed int) string { return strings.Repeat(fmt.Sprintf("line %d\n", seed), 400_000) } // > scanBuffer

func TestFilesOfTwoVersionsAreStoredOnce(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	type change = func(tree string)
	for _, test := range []struct {
		name, path, from string // from is the path in the version before; empty: the same
		change           change
		want             bool
	}{
		{"same", "usr/bin/same", "", nil, true},
		{"big", "usr/lib/big", "", nil, true},
		{"setuid", "usr/bin/su", "", nil, true},
		{"moved", "usr/lib/new/place", "usr/lib/old", nil, true},
		{"odd name", "usr/two\nlines \xff", "", nil, true},
		{"other bytes", "usr/bin/bytes", "", func(tree string) { putFile(t, tree, "usr/bin/bytes", "bytez", 0o644) }, false},
		{"other bytes in a big one", "usr/lib/big2", "", func(tree string) {
			putFile(t, tree, "usr/lib/big2", bigContent(3)[:2_000_000]+"x"+bigContent(3)[2_000_001:], 0o644)
		}, false},
		{"other mode", "usr/bin/mode", "", func(tree string) { must(t, os.Chmod(filepath.Join(tree, "usr/bin/mode"), 0o755)) }, false},
		{"other second", "usr/bin/time", "", func(tree string) {
			must(t, os.Chtimes(filepath.Join(tree, "usr/bin/time"), longAgo, longAgo.Add(time.Second)))
		}, false},
		{"other nanosecond", "usr/bin/nano", "", func(tree string) {
			must(t, os.Chtimes(filepath.Join(tree, "usr/bin/nano"), longAgo, longAgo.Add(time.Millisecond)))
		}, true},
		{"empty", "usr/empty", "", nil, false},
		{"counts its links", "etc/crontab", "", nil, false},
		{"a spool", "var/spool/cron/crontabs/root", "", nil, false},
		{"var", "var/lib/dpkg/info/x.list", "", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := strings.ReplaceAll(test.name, " ", "-")
			write := func(from string) func(string) {
				return func(tree string) {
					path := test.path
					if from != "" {
						path = from
					}
					content := test.name
					if strings.Contains(test.name, "big") {
						content = bigContent(3)
					}
					mode := fs.FileMode(0o644)
					switch test.name {
					case "setuid":
						mode = 0o755 | fs.ModeSetuid
					case "empty":
						content = ""
					}
					putFile(t, tree, path, content, mode)
				}
			}
			one := publishNext(t, c, name, write(test.from))
			two := publishNext(t, c, name, func(tree string) {
				write("")(tree)
				if test.change != nil {
					test.change(tree)
				}
			})
			before := test.path
			if test.from != "" {
				before = test.from
			}
			if got := stored(t, filepath.Join(one.Dir, TreeDir, before), filepath.Join(two.Dir, TreeDir, test.path)); got != test.want {
				t.Errorf("stored once: %t, want %t", got, test.want)
			}
			for _, img := range []Image{one, two} {
				if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
					t.Errorf("Verify(%s) = %v, %v", img.Ref, problems, err)
				}
			}
			if !stored(t, filepath.Join(one.Dir, KernelFile), filepath.Join(two.Dir, KernelFile)) && test.name != "same" {
				t.Log("the kernels differ in time")
			}
		})
	}
}

func TestAnotherImagesFilesAreStoredOnce(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(tree string) { putFile(t, tree, "usr/bin/tool", "tool", 0o755) }
	web := publishNext(t, c, "web", write)
	mail := publishNext(t, c, "mail", write)
	if !stored(t, filepath.Join(web.Dir, TreeDir, "usr/bin/tool"), filepath.Join(mail.Dir, TreeDir, "usr/bin/tool")) {
		t.Error("mail:1 has a copy of its own")
	}
	// The same image's version is preferred, and a file that skipped a version is found in an older one.
	must(t, c.Remove(web.Ref))
	publishNext(t, c, "mail", nil)
	three := publishNext(t, c, "mail", write)
	if !stored(t, filepath.Join(mail.Dir, TreeDir, "usr/bin/tool"), filepath.Join(three.Dir, TreeDir, "usr/bin/tool")) {
		t.Error("mail:3 has a copy of its own")
	}
}

func TestOwnersAndAttributesKeepFilesApart(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners and capabilities")
	}
	raw := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	c := &Catalog{Dir: t.TempDir()}
	names := []string{"owner", "group", "capability", "same-capability"}
	write := func(second bool) func(string) {
		return func(tree string) {
			for _, n := range names {
				putFile(t, tree, "usr/bin/"+n, n, 0o755)
			}
			path := func(n string) string { return filepath.Join(tree, "usr/bin", n) }
			must(t, unix.Lsetxattr(path("same-capability"), "security.capability", raw, 0))
			if second {
				must(t, os.Lchown(path("owner"), 33, 0))
				must(t, os.Lchown(path("group"), 0, 33))
				must(t, unix.Lsetxattr(path("capability"), "security.capability", raw, 0))
			}
		}
	}
	one, two := publishNext(t, c, "web", write(false)), publishNext(t, c, "web", write(true))
	for _, n := range names {
		got := stored(t, filepath.Join(one.Dir, TreeDir, "usr/bin", n), filepath.Join(two.Dir, TreeDir, "usr/bin", n))
		if want := n == "same-capability"; got != want {
			t.Errorf("%s: stored once: %t, want %t", n, got, want)
		}
	}
}

// What decayed on the disk, or was tampered with, does not spread into a new version, and is told.
func TestDamageDoesNotSpread(t *testing.T) {
	for name, test := range map[string]struct {
		file   string
		damage func(path string) error
	}{
		"bytes":     {"usr/bin/tool", func(p string) error { return rot(p, 2) }},
		"big":       {"usr/lib/big", func(p string) error { return rot(p, 2_000_000) }},
		"moved big": {"usr/lib/moved", func(p string) error { return rot(p, 2_000_000) }},
		"mode":      {"usr/bin/tool", func(p string) error { return os.Chmod(p, 0o755|os.ModeSetuid) }},
		"shorter":   {"usr/bin/tool", func(p string) error { return errors.Join(os.Truncate(p, 2), os.Chtimes(p, longAgo, longAgo)) }},
		"a link":    {"usr/bin/tool", func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) }},
		"a FIFO":    {"usr/bin/tool", func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o755)) }},
		"its directory is a link": {"usr/bin/tool", func(p string) error {
			dir := filepath.Dir(p)
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			c := &Catalog{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&said, nil))}
			write := func(moved string) func(string) {
				return func(tree string) {
					putFile(t, tree, "usr/bin/tool", "tool", 0o755)
					putFile(t, tree, "usr/lib/big", bigContent(1), 0o644)
					putFile(t, tree, "usr/lib/"+moved, bigContent(2), 0o644)
				}
			}
			one := publishNext(t, c, "web", write("moved"))
			must(t, test.damage(filepath.Join(one.Dir, TreeDir, test.file)))
			two := publishNext(t, c, "web", write("elsewhere"))
			if problems, err := c.Verify(t.Context(), two.Ref); err != nil || len(problems) > 0 {
				t.Fatalf("Verify of the new version = %v, %v", problems, err)
			}
			if problems, err := c.Verify(t.Context(), one.Ref); err != nil || len(problems) == 0 {
				t.Fatalf("Verify of the damaged version = %v, %v", problems, err)
			}
			// A link or a FIFO in a file's place says itself what it is when it is verified.
			quiet := strings.HasPrefix(name, "a ") || strings.HasPrefix(name, "its")
			if told := strings.Contains(said.String(), filepath.Base(test.file)); !told && !quiet {
				t.Errorf("the log says %q", said.String())
			}
		})
	}
}

// rot flips a bit without a trace in the file's times.
func rot(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return os.Chtimes(path, longAgo, longAgo)
}

// Sharing leaves a tree as it was, times of directories included.
func TestSharingKeepsTimes(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(tree string) {
		putFile(t, tree, "usr/lib/a/b", "b", 0o644)
		for _, d := range []string{"usr/lib/a", "usr/lib", "usr", "."} {
			must(t, os.Chtimes(filepath.Join(tree, d), longAgo, longAgo))
		}
	}
	one, two := publishNext(t, c, "web", write), publishNext(t, c, "web", write)
	if !stored(t, filepath.Join(one.Dir, TreeDir, "usr/lib/a/b"), filepath.Join(two.Dir, TreeDir, "usr/lib/a/b")) {
		t.Fatal("nothing is shared: the test tests nothing")
	}
	for _, d := range []string{"usr/lib/a/b", "usr/lib/a", "usr/lib", "usr", "."} {
		if info, err := os.Stat(filepath.Join(two.Dir, TreeDir, d)); err != nil || !info.ModTime().Equal(longAgo) {
			t.Errorf("%s has the time %v, %v", d, info.ModTime(), err)
		}
	}
	names, err := os.ReadDir(filepath.Join(two.Dir, TreeDir, "usr/lib/a"))
	if err != nil || len(names) != 1 {
		t.Errorf("the directory has %v, %v", names, err)
	}
}

// Builds of different images share at the same time, while versions are being removed under them.
func TestSharingWhileVersionsGo(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(tree string) {
		for i := range 150 {
			putFile(t, tree, fmt.Sprintf("usr/lib/d%d/f%d", i%10, i), fmt.Sprint("content ", i), 0o644)
		}
	}
	donor := publishNext(t, c, "donor", write)
	var wg sync.WaitGroup
	for _, name := range []string{"web", "mail", "dns"} {
		wg.Go(func() {
			for range 5 {
				img := publishNext(t, c, name, write)
				if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
					t.Errorf("Verify(%s) = %v, %v", img.Ref, problems, err)
				}
				if img.Ref.Version > 1 {
					must(t, c.Remove(Ref{name, img.Ref.Version - 1}))
				}
			}
		})
	}
	wg.Go(func() { must(t, c.Remove(donor.Ref)) })
	wg.Wait()
	all, err := c.List()
	if err != nil || len(all) != 3 {
		t.Fatalf("List = %v, %v", all, err)
	}
	for _, img := range all {
		if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
			t.Errorf("Verify(%s) = %v, %v", img.Ref, problems, err)
		}
	}
}
