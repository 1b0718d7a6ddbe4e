package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Remove deletes a version. The current version is refused while there are others: make another one current
// first. Whether a node still runs it is for the caller to know. Files that other versions share stay as they
// are, for whoever reads them at the moment too.
func (c *Catalog) Remove(ref Ref) error {
	if ref.Version == 0 {
		return fmt.Errorf("images: %q names no version (want %s:N): %w", ref, ref.Name, fs.ErrInvalid)
	}
	if _, err := c.Find(ref); err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	unlock, err := c.lock(ref.Name)
	if err != nil {
		return err
	}
	defer unlock()
	return c.remove(ref, func() error { return nil })
}

// remove is Remove under the image's lock. It asks last, right before the version is gone: nothing can make
// the version current or pack it in between.
func (c *Catalog) remove(ref Ref, last func() error) error {
	gone, err := c.unpublish(ref, last)
	if err != nil {
		return err
	}
	crashPoint("unpublished")
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// unpublish takes a version's name away in one step; what a crash leaves of the rest is Clean's.
func (c *Catalog) unpublish(ref Ref, last func() error) (gone string, err error) {
	unlock, err := c.switching(ref.Name)
	if err != nil {
		return "", err
	}
	defer unlock()
	img, err := c.Find(ref)
	if err != nil && !errors.Is(err, errDamaged) {
		return "", err
	}
	unpack, err := lockDir(img.Dir)
	if err != nil {
		return "", fmt.Errorf("images: %s is being packed: %w", ref, err)
	}
	defer unpack()
	versions, err := c.versions(ref.Name)
	if err != nil {
		return "", err
	}
	// Before the number is free to be given out again.
	if err := c.count(ref); err != nil {
		return "", err
	}
	if err := last(); err != nil {
		return "", err
	}
	if img.Current && len(versions) > 1 {
		return "", fmt.Errorf("images: %s is current: make another version current first: %w", ref, fs.ErrPermission)
	}
	parent := filepath.Dir(img.Dir)
	if img.Current {
		if err := os.Remove(filepath.Join(parent, currentLink)); err != nil {
			return "", fmt.Errorf("images: %w", err)
		}
		crashPoint("no longer current")
	}
	gone = filepath.Join(parent, partialPrefix+strconv.Itoa(ref.Version))
	if err := os.Rename(img.Dir, gone); err != nil {
		return "", fmt.Errorf("images: %w", err)
	}
	crashPoint("renamed")
	return gone, syncDir(parent)
}

// Clean removes what builds, packings and removals left behind when Muster was killed. Images that are being
// built or packed at the moment are left alone. (Mounts need no cleaning: a build's are in a namespace that
// ends with it.)
func (c *Catalog) Clean() error {
	names, err := c.names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		unlock, err := c.lock(name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, c.cleanImage(name), c.cleanVersions(name))
		unlock()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("images: clean: %w", err)
	}
	return nil
}

// cleanImage removes what was left in the image's directory: directories under the image's lock, which the caller
// holds, and files and links under that of a switch as well, which makes some. While one goes on they stay.
func (c *Catalog) cleanImage(name string) error {
	left, err := filepath.Glob(filepath.Join(c.Dir, name, partialPrefix+"*"))
	errs := []error{err}
	var small []string
	for _, path := range left {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			small = append(small, path)
			continue
		}
		errs = append(errs, os.RemoveAll(path))
	}
	if len(small) == 0 {
		return errors.Join(errs...)
	}
	unlock, err := flock(filepath.Join(c.Dir, name, switchFile), os.O_CREATE|os.O_RDWR, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, fs.ErrExist) {
		return errors.Join(errs...)
	}
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer unlock()
	for _, path := range small {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// cleanVersions removes what packings left in the versions' directories.
func (c *Catalog) cleanVersions(name string) error {
	versions, err := c.versions(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range versions {
		dir := c.dir(Ref{name, v})
		unlock, err := lockDir(dir)
		if err != nil {
			continue // it goes on, or was removed
		}
		errs = append(errs, removeMatches(filepath.Join(dir, partialPrefix+"*")))
		unlock()
	}
	return errors.Join(errs...)
}

func removeMatches(pattern string) error {
	left, err := filepath.Glob(pattern)
	errs := []error{err}
	for _, path := range left {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
