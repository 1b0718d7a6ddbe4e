package images

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// manifestOf gives a manifest of the paths, directories with a slash behind.
func manifestOf(paths ...string) ([]byte, string) {
	var entries []entry
	for _, p := range paths {
		e := entry{path: strings.TrimSuffix(p, "/"), kind: 'f', mode: 0o644}
		if strings.HasSuffix(p, "/") {
			e.kind, e.mode = 'd', 0o755
		}
		entries = append(entries, e)
	}
	digest := sumTree(entries)
	var b bytes.Buffer
	b.WriteString(manifestHeader + "\n")
	for i := range entries {
		b.Write(append(entries[i].appendTo(nil), '\n'))
	}
	return b.Bytes(), digest
}

func check(b []byte) ([]entry, string, error) {
	var all []entry
	r, err := readManifest(io.NopCloser(bytes.NewReader(b)), "manifest")
	if err != nil {
		return nil, "", err
	}
	t, err := r.check(func(e *entry) { all = append(all, *e) })
	return all, t.digest, err
}

func TestMerkleDigestsAreChecked(t *testing.T) {
	good := []string{"initrd.img", "tree/", "tree/a/", "tree/a/b/", "tree/a/b/c", "tree/a.b", "tree/a0/", "tree/z", "vmlinuz"}
	b, want := manifestOf(good...)
	if _, got, err := check(b); err != nil || got != want {
		t.Fatalf("check = %s, %v; want %s", got, err, want)
	}
	lines := strings.SplitAfter(string(b), "\n")
	for i, path := range good {
		// A changed line shows in its directory's digest, and that in every one above it.
		changed := append([]string{}, lines...)
		changed[i+1] = strings.Replace(changed[i+1], " 0", " 4", 1)
		_, got, err := check([]byte(strings.Join(changed, "")))
		if top := !strings.Contains(strings.TrimSuffix(path, "/"), "/"); top && (err != nil || got == want) || !top && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s changed: %s, %v", path, got, err)
		}
		// And so does one that is missing.
		less := append(append([]string{}, lines[:i+1]...), lines[i+2:]...)
		if _, got, err := check([]byte(strings.Join(less, ""))); err == nil && got == want {
			t.Errorf("%s dropped: nothing shows", path)
		}
	}
}

func TestManifestsThatAreNone(t *testing.T) {
	for name, paths := range map[string][]string{
		"disorder":     {"tree/", "tree/b", "tree/a"},
		"twice":        {"tree/", "tree/a", "tree/a"},
		"no parent":    {"tree/", "tree/a/b"},
		"file as one":  {"tree/", "tree/a", "tree/a/b"},
		"disorder dir": {"tree/", "tree/a.b", "tree/a/"},
	} {
		b, _ := manifestOf(paths...)
		if _, _, err := check(b); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	for _, path := range []string{"", ".", "..", "/tree", "tree/../x", "tree//x", "tree/x/", "etc", "vmlinuz/x", "tree/a\x00b", "treex"} {
		line := entry{path: path, kind: 'f'}.String()
		if e, err := parseEntry(line); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s is taken for %+v, %v", line, e, err)
		}
	}
}

// The order of a manifest is that of a walk.
func TestComparePathsIsTheWalk(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"tree/a/b/c", "tree/a.b/c", "tree/a b", "tree/a!/x", "tree/a0", "tree/\x01/x", "tree/\xff/y", "tree/é/z", "vmlinuz", "initrd.img"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, p)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, p), nil, 0o644))
	}
	last := ""
	s := scanner{dir: root}
	n := 0
	must(t, s.run(t.Context(), func(e *entry) error {
		if last != "" && comparePaths(last, e.path) >= 0 {
			t.Errorf("%q comes after %q", e.path, last)
		}
		last = e.path
		n++
		return nil
	}))
	if n != 18 {
		t.Errorf("%d paths, want 18", n)
	}
}

func FuzzManifestFile(f *testing.F) {
	for _, paths := range [][]string{{"initrd.img", "tree/", "tree/a/", "tree/a/b", "tree/z", "vmlinuz"}, {"tree/"}, {}} {
		b, _ := manifestOf(paths...)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, digest, err := check(b)
		if err != nil {
			return
		}
		again := []byte(manifestHeader + "\n")
		for i := range entries {
			if entries[i].kind == 'd' {
				entries[i].sum = [32]byte{}
			}
		}
		if sumTree(entries) != digest {
			t.Fatal("the same entries have another digest")
		}
		for i := range entries {
			again = append(entries[i].appendTo(again), '\n')
		}
		if !bytes.Equal(b, again) {
			t.Fatalf("%q was read, and written as %q", b, again)
		}
	})
}
