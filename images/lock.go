package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Locks are flock(2)s. The kernel drops them with the process, so a crash cannot leave one behind; the files
// stay. Who takes several takes them in this order: the image's, the switch's, a version's.
const (
	// lockFile is in an image's directory and is held while a build or a removal goes on.
	lockFile = "lock"
	// switchFile is held for moments: while current changes or a version loses its name.
	switchFile = "switch.lock"
)

// lock takes the image's lock without waiting, making the image's directory. The error wraps fs.ErrExist
// when somebody else, of this process or another, holds it.
func (c *Catalog) lock(name string) (unlock func(), err error) {
	dir := filepath.Join(c.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	unlock, err = flock(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("images: %s is being built or removed already: wait for it: %w", name, err)
	}
	return unlock, err
}

// switching waits for the lock under which current and the set of versions change. Nobody holds it for long.
func (c *Catalog) switching(name string) (unlock func(), err error) {
	return flock(filepath.Join(c.Dir, name, switchFile), os.O_CREATE|os.O_RDWR, unix.LOCK_EX)
}

// lockDir takes the lock of a version's directory without waiting. It is held while the version is packed. The
// error wraps fs.ErrExist when somebody else holds it.
func lockDir(dir string) (unlock func(), err error) {
	return flock(dir, os.O_RDONLY|unix.O_DIRECTORY, unix.LOCK_EX|unix.LOCK_NB)
}

func flock(path string, flags, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	err = unix.Flock(int(f.Fd()), how)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is locked: %w", path, fs.ErrExist)
		}
		return nil, fmt.Errorf("images: lock %s: %w", path, err)
	}
	return func() {
		// A child between fork and exec has the file open too: closing it alone would leave the lock to that.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		f.Close()
	}, nil
}
