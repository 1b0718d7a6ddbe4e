package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const statusBefore = `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: nginx
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 1.22.1-9+deb12u1
Description: small, powerful
 Version: 9 of the protocol
 Package: none

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-9

Package: libc6
Status: hold ok installed
Architecture: amd64
Version: 2.36-9

Package: gone
Status: install ok installed
Architecture: all
Version: 1
`

var statusAfter = strings.NewReplacer("1.22.1-9+deb12u1", "1.22.1-9+deb12u2", "hold ok installed", "deinstall ok config-files",
	"Package: gone", "Package: come").Replace(statusBefore)

func TestDiff(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	base := func(tree string) {
		for _, name := range []string{"same/a", "same/b/c", "usr/bin/mode", "usr/bin/bytes", "usr/bin/longer", "usr/bin/gone", "usr/bin/kind", "two\nlines"} {
			putFile(t, tree, name, "content", 0o644)
		}
		must(t, os.Symlink("a", filepath.Join(tree, "link")))
		putFile(t, tree, dpkgStatus, statusBefore, 0o644)
	}
	one := publishNext(t, c, "web", base)
	two := publishNext(t, c, "web", func(tree string) {
		base(tree)
		must(t, os.Chmod(filepath.Join(tree, "usr/bin/mode"), 0o755|fs.ModeSetuid))
		putFile(t, tree, "usr/bin/bytes", "CONTENT", 0o644)
		putFile(t, tree, "usr/bin/longer", "longer content", 0o600)
		must(t, os.Remove(filepath.Join(tree, "usr/bin/gone")))
		must(t, os.Remove(filepath.Join(tree, "usr/bin/kind")))
		must(t, unix.Mkfifo(filepath.Join(tree, "usr/bin/kind"), 0o644))
		must(t, os.Remove(filepath.Join(tree, "link")))
		must(t, os.Symlink("b", filepath.Join(tree, "link")))
		must(t, os.Rename(filepath.Join(tree, "two\nlines"), filepath.Join(tree, "two\nmore")))
		putFile(t, tree, "new/file", "x", 0o644)
		must(t, os.WriteFile(filepath.Join(tree, "..", KernelFile), []byte("Kernel"), 0o644))
		putFile(t, tree, dpkgStatus, statusAfter, 0o644)
	})
	got, err := c.Diff(t.Context(), one.Ref, two.Ref)
	if err != nil {
		t.Fatal(err)
	}
	want := Diff{
		Packages: []PackageChange{
			{"come", "", "1"}, {"gone", "1", ""}, {"libc6", "2.36-9", ""}, {"nginx", "1.22.1-9+deb12u1", "1.22.1-9+deb12u2"},
		},
		Files: []FileChange{
			{"link", `link to "b", was "a"`},
			{"new", "added"}, {"new/file", "added"},
			{"two\nlines", "removed"}, {"two\nmore", "added"},
			{"usr/bin/bytes", "other content of 7 bytes"},
			{"usr/bin/gone", "removed"},
			{"usr/bin/kind", "a FIFO, was a file"},
			{"usr/bin/longer", "mode 0600, was 0644; 14 bytes, were 7"},
			{"usr/bin/mode", "mode 4755, was 0644"},
			{dpkgStatus, fmt.Sprintf("%d bytes, were %d", len(statusAfter), len(statusBefore))},
			{"../vmlinuz", "other content of 6 bytes"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	back, err := c.Diff(t.Context(), two.Ref, one.Ref)
	if err != nil || len(back.Files) != len(want.Files) || len(back.Packages) != len(want.Packages) {
		t.Errorf("the other way round: %+v, %v", back, err)
	}
	if none, err := c.Diff(t.Context(), one.Ref, one.Ref); err != nil || len(none.Files)+len(none.Packages) > 0 || none.Files == nil || none.Packages == nil {
		t.Errorf("with itself: %+v, %v", none, err)
	}
	if _, err := c.Diff(t.Context(), one.Ref, Ref{"web", 9}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with nothing: %v", err)
	}
}

// The manifest of a subtree that did not change is not even parsed: garbage in it goes unseen. (Verify sees it.)
func TestDiffSkipsEqualSubtrees(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(n string) func(string) {
		return func(tree string) {
			putFile(t, tree, "same/deep/file", "x", 0o644)
			putFile(t, tree, "same.not", n, 0o644)
		}
	}
	one, two := publishNext(t, c, "web", write("1")), publishNext(t, c, "web", write("2"))
	for _, img := range []Image{one, two} {
		path := filepath.Join(img.Dir, ManifestFile)
		b, err := os.ReadFile(path)
		must(t, err)
		garbage := strings.Replace(string(b), "d 0755", "d XXXX", -1)
		// Only directories below the one that is skipped.
		garbage = strings.Replace(garbage, "d XXXX", "d 0755", 2)
		if garbage == string(b) {
			t.Fatal("no directory below: the test tests nothing")
		}
		must(t, os.WriteFile(path, []byte(garbage), 0o644))
	}
	got, err := c.Diff(t.Context(), one.Ref, two.Ref)
	if err != nil || len(got.Files) != 1 || got.Files[0].Path != "same.not" {
		t.Errorf("Diff = %+v, %v", got, err)
	}
}

// A database that is a link out of the tree is not followed.
func TestDiffStaysInTheTree(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	one := publishNext(t, c, "web", nil)
	two := publishNext(t, c, "web", func(tree string) {
		must(t, os.MkdirAll(filepath.Join(tree, "var/lib"), 0o755))
		must(t, os.Symlink("/var/lib/dpkg", filepath.Join(tree, "var/lib/dpkg")))
	})
	if got, err := c.Diff(t.Context(), one.Ref, two.Ref); err == nil && len(got.Packages) > 0 {
		t.Errorf("Diff read the host's packages: %+v", got.Packages)
	}
}
