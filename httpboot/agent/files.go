package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkFiles says what is wrong with files. The error wraps fs.ErrInvalid.
func checkFiles(files []File) error {
	var errs []error
	for _, f := range files {
		if !cleanPath(f.Path) {
			errs = append(errs, fmt.Errorf("file %q is not absolute and clean: %w", f.Path, fs.ErrInvalid))
		}
		if f.Mode > 0o7777 {
			errs = append(errs, fmt.Errorf("file %q: mode %#o has more than permission bits: %w", f.Path, f.Mode, fs.ErrInvalid))
		}
	}
	return errors.Join(errs...)
}

// writer writes files into a root: that of a boot, or that of the running system.
type writer struct {
	root inRoot
	who  owners
	// changed makes it pass over files that are there already.
	changed bool
	// ram refuses files that would lie on a volume: secrets stay in this machine.
	ram bool
	// volume reports whether a directory is on one.
	volume func(dir *os.File) (bool, error)
}

// newWriter makes a writer. Nil for volume is the kernel's word.
func newWriter(root string, volume func(dir *os.File) (bool, error)) *writer {
	if volume == nil {
		volume = onNFS
	}
	return &writer{root: inRoot{root}, who: owners{root: inRoot{root}}, volume: volume}
}

// write writes f, whole or not at all, and reports whether it did.
func (w *writer) write(f File) (wrote bool, err error) {
	o, err := w.who.find(f.Owner)
	if err == nil {
		mode := cmp.Or(f.Mode, 0o644)
		if w.changed && w.root.same(f.Path, mode, o, f.Content) {
			return false, nil
		}
		err = w.root.writeFile(f.Path, mode, o, f.Content, w.allowed)
	}
	if err != nil {
		return false, fmt.Errorf("file %s: %w", f.Path, err)
	}
	return true, nil
}

// allowed is an error for a directory in which the next file must not be.
func (w *writer) allowed(dir *os.File) error {
	if !w.ram {
		return nil
	}
	there, err := w.volume(dir)
	if err != nil {
		return fmt.Errorf("it has a secret, and nobody knows where it would lie: %w", err)
	}
	if there {
		return fmt.Errorf("it has a secret and would lie on a volume: choose a path outside of it: %w", fs.ErrInvalid)
	}
	return nil
}
