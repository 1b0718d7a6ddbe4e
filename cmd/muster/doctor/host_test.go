package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDiskFull(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("muster-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	e := &Env{Data: dir}
	compare(t, checkDisk(t.Context(), e), want{"disk", Fail, "only 0 MiB left", "larger disk"})

	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	compare(t, checkDisk(t.Context(), e), want{"disk", Fail, "no space left on device", "make room"})
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}

	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	compare(t, checkDisk(t.Context(), e), want{"disk", Fail, "read-only file system", "ls -ld"})
}

func TestDisk(t *testing.T) {
	got := checkDisk(t.Context(), &Env{Data: t.TempDir()})
	if len(got) != 1 || got[0].Detail == "" {
		t.Errorf("got %+v", got)
	}
	compare(t, checkDisk(t.Context(), &Env{Data: "/nonexistent"}), want{"disk", Fail, "cannot write to /nonexistent", "ls -ld"})
}

func TestClock(t *testing.T) {
	e := &Env{Now: func() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }}
	compare(t, checkClock(t.Context(), e), want{"clock", Fail, "1980-01-01", "chrony"})
	// Whether this machine's clock is synchronised is not the test's business.
	e.Now = time.Now
	if got := checkClock(t.Context(), e); len(got) != 1 || got[0].Status == Fail {
		t.Errorf("got %+v", got)
	}
}
