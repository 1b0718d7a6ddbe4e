package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// loopFS makes a file system of its own, of size bytes, in a file, and mounts it: what others on this machine
// write and flush does not touch it, and it can be full, or lose its power. It gives the mount point and the
// file.
func loopFS(tb testing.TB, kind string, size int64, options ...string) (dir, file string) {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("needs root: mounts a file system")
	}
	for _, name := range []string{"mkfs." + kind, "mount"} {
		if _, err := exec.LookPath(name); err != nil {
			tb.Skipf("needs %s: %v", name, err)
		}
	}
	base := tb.TempDir()
	dir, file = filepath.Join(base, "mnt"), filepath.Join(base, "disk")
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		tb.Fatal(err)
	}
	f.Close()
	// Nothing in the background, and no blocks for root alone.
	args := map[string][]string{"ext4": {"-qF", "-m0", "-Elazy_itable_init=0,lazy_journal_init=0"}, "xfs": {"-qf"}}[kind]
	tool(tb, "mkfs."+kind, append(args, file)...)
	mountLoop(tb, file, dir, options...)
	return dir, file
}

// mountLoop mounts a file until the test ends.
func mountLoop(tb testing.TB, file, dir string, options ...string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tool(tb, "mount", "-o", strings.Join(append(options, "loop"), ","), file, dir)
	tb.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			tb.Errorf("umount %s: %v: %s", dir, err, out)
			_ = exec.Command("umount", "-l", dir).Run()
		}
	})
}

func tool(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tb.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}
