package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// As is another user only while it lasts, and only towards files.
func TestLinuxAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it becomes somebody else")
	}
	dir := t.TempDir()
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for name, mode := range map[string]fs.FileMode{open: 0o644, closed: 0o600} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // t.TempDir is root's alone
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) func() error {
		return func() error { _, err := os.ReadFile(name); return err }
	}
	for range 100 { // the threads that it leaves are root's
		if err := (Linux{}).As(nobody, read(open)); err != nil {
			t.Fatalf("a file for all: %v", err)
		}
		if err := (Linux{}).As(nobody, read(closed)); !errors.Is(err, fs.ErrPermission) {
			t.Fatalf("a file for root: %v", err)
		}
		if uid, err := unix.SetfsuidRetUid(-1); uid != 0 || err != nil {
			t.Fatalf("afterwards files are %d's, %v", uid, err)
		}
		if err := read(closed)(); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
	}
}

// A restart waits for what is to be written, and not for a volume that is away.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct{ takes, want time.Duration }{{0, 0}, {time.Second, time.Second}, {time.Hour, syncTime}} {
			start, ended := time.Now(), make(chan struct{})
			within(syncTime, func() { time.Sleep(tc.takes); close(ended) })
			if took := time.Since(start); took != tc.want {
				t.Errorf("%v: it took %v, want %v", tc.takes, took, tc.want)
			}
			<-ended
		}
	})
}
