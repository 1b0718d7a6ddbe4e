package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile is in an image's directory and is held with flock(2) while a build or a removal goes on. The
// kernel drops the lock with the process, so a crash cannot leave one behind; the file itself stays.
const lockFile = "lock"

// lock takes the image's lock without waiting, making the image's directory. The error wraps fs.ErrExist
// when somebody else, of this process or another, holds it.
func (c *Catalog) lock(name string) (unlock func(), err error) {
	dir := filepath.Join(c.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("images: %s is being built or removed already: wait for it: %w", name, fs.ErrExist)
		}
		return nil, fmt.Errorf("images: lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}
