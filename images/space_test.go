package images

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk gives a directory on a file system of its own, of so many bytes.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounting")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skipf("needs mkfs.ext4: %v", err)
	}
	dir := t.TempDir()
	file, at := filepath.Join(dir, "disk"), filepath.Join(dir, "at")
	f, err := os.Create(file)
	must(t, err)
	must(t, errors.Join(f.Truncate(size), f.Close(), os.Mkdir(at, 0o755)))
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", file}, {"mount", "-o", "loop", file, at}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return at
}

// A disk that is too small is told before anything is made; one that becomes full, when it is.
func TestNoSpace(t *testing.T) {
	b := testBuilder(t, finishTree)
	b.Catalog.Dir = filepath.Join(smallDisk(t, 64<<20), "images")
	_, err := b.Build(t.Context(), "web", Recipe{}, Options{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "a build needs 1500 MB") {
		t.Errorf("a small disk: %v", err)
	}
	if entries, err := os.ReadDir(b.Catalog.Dir); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
	// In the middle of packages…
	disk := smallDisk(t, 2<<30)
	full := `
fallocate -l $(($(df --output=avail -B1 "$tree" | tail -1) - 65536)) "$tree/../../../filler"
head -c 1000000 /dev/zero >"$tree/x" || { echo "dpkg: error: cannot write: No space left on device" >&2; exit 25; }
`
	// … or with the tree complete: then the initrd has no room.
	late := finishTree + `fallocate -l $(($(df --output=avail -B1 "$tree" | tail -1) - 4096)) "$tree/../../../filler"` + "\n"
	for name, body := range map[string]string{"packages": full, "initrd": late} {
		b := testBuilder(t, body)
		b.Catalog.Dir = filepath.Join(disk, "images")
		must(t, os.WriteFile(b.Agent, make([]byte, 1<<20), 0o755))
		if name == "initrd" {
			noise, err := exec.Command("head", "-c", "1048576", "/dev/urandom").Output()
			must(t, err)
			must(t, os.WriteFile(b.Agent, noise, 0o755))
		}
		_, err := b.Build(t.Context(), "web", Recipe{}, Options{})
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: Build = %v, want ENOSPC", name, err)
		}
		if left := leftovers(t, b); len(left) > 0 {
			t.Errorf("%s: it left %q", name, left)
		}
		must(t, os.Remove(filepath.Join(b.Catalog.Dir, "filler")))
		must(t, os.WriteFile(b.Mmdebstrap, []byte(fakeDebstrap+finishTree), 0o755))
		if _, err := b.Build(t.Context(), "web", Recipe{}, Options{}); err != nil {
			t.Errorf("%s: with room again: %v", name, err)
		}
		must(t, os.RemoveAll(b.Catalog.Dir))
	}
}
