package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"muster/images"
)

// Images is a catalog that removes no version while somebody has a shell in it (muster image shell): the shell's
// root is the version's tree.
//
// A shell is a process of its own, of which the server knows nothing. It holds a shared flock(2) on the tree, and who
// removes a version the exclusive one until it is gone. The kernel drops them with the process.
type Images struct{ *images.Catalog }

// Hold keeps a version from being removed until release is called, or this process ends. The error wraps
// fs.ErrNotExist when it is removed already, or just now.
func Hold(im images.Image) (release func(), err error) {
	tree := filepath.Join(im.Dir, images.TreeDir)
	f, err := lockTree(tree, unix.LOCK_SH)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EWOULDBLOCK):
		return nil, fmt.Errorf("%s is being removed: %w", im.Ref, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("hold %s: %w", im.Ref, err)
	}
	// It may have gone between its opening and the lock.
	if err := isAt(f, tree); err != nil {
		unlock(f)
		return nil, fmt.Errorf("%s is being removed: %w", im.Ref, err)
	}
	return func() { unlock(f) }, nil
}

// isAt checks that an open file is still the one at path.
func isAt(f *os.File, path string) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	if at, err := os.Lstat(path); err != nil || !os.SameFile(is, at) {
		return fs.ErrNotExist
	}
	return nil
}

// lockTree takes a lock without waiting. It fails with EWOULDBLOCK.
func lockTree(tree string, how int) (*os.File, error) {
	f, err := os.OpenFile(tree, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unlock gives a lock back: also where a child that is not quite started has the file.
func unlock(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // closing does it, too
	f.Close()
}

// Prune is images.Catalog's. Versions with a shell in them stay.
func (i Images) Prune(ctx context.Context, o images.PruneOptions) ([]images.Pruned, error) {
	if inUse := o.InUse; inUse != nil {
		e := emptied{images: i, dry: o.DryRun, locks: map[images.Ref]*os.File{}}
		defer e.release()
		o.InUse = func(ref images.Ref) string {
			if why := inUse(ref); why != "" {
				return why
			}
			return e.take(ref)
		}
	}
	return i.Catalog.Prune(ctx, o)
}

// Remove is images.Catalog's. The error wraps fs.ErrExist for a version with a shell in it.
func (i Images) Remove(ref images.Ref) error {
	e := emptied{images: i, locks: map[images.Ref]*os.File{}}
	defer e.release()
	if why := e.take(ref); why != "" {
		return fmt.Errorf("%s stays: %s: %w", ref, why, fs.ErrExist)
	}
	return i.Catalog.Remove(ref)
}

// emptied are versions that nobody has a shell in, and, unless it is a dry run, that nobody gets one in.
type emptied struct {
	images Images
	dry    bool
	locks  map[images.Ref]*os.File
}

// take adds a version, or says why it cannot.
func (e *emptied) take(ref images.Ref) (why string) {
	if e.locks[ref] != nil {
		return ""
	}
	im, err := e.images.Find(ref)
	if errors.Is(err, fs.ErrNotExist) {
		return "" // who removes it says so
	}
	var f *os.File
	if err == nil {
		f, err = lockTree(filepath.Join(im.Dir, images.TreeDir), unix.LOCK_EX)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "" // a version without a tree is damaged, and nobody is in it
	case errors.Is(err, unix.EWOULDBLOCK):
		return "somebody has a shell in it (muster image shell)"
	case err != nil:
		return "whether somebody has a shell in it is not known: " + err.Error()
	}
	if e.dry {
		unlock(f)
		return ""
	}
	e.locks[ref] = f
	return ""
}

func (e *emptied) release() {
	for _, f := range e.locks {
		unlock(f)
	}
}
