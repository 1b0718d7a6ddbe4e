package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// partialPrefix begins the names of what is not published yet or not any more. Clean removes it.
	partialPrefix = ".partial-"
	// counterFile holds the last version number that was given out: a number is never used again, even
	// when its version was removed, because nodes and logs name it.
	counterFile = "last-version"
)

// reserve gives out the next version number, durably. The caller holds the image's lock.
func (c *Catalog) reserve(name string) (int, error) {
	dir := filepath.Join(c.Dir, name)
	last := 0
	b, err := os.ReadFile(filepath.Join(dir, counterFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("images: %w", err)
	}
	if err == nil {
		if last, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
			return 0, fmt.Errorf("images: %s: %w", filepath.Join(dir, counterFile), err)
		}
	}
	versions, err := c.versions(name)
	if err != nil {
		return 0, err
	}
	if n := len(versions); n > 0 {
		last = max(last, versions[n-1])
	}
	tmp := filepath.Join(dir, partialPrefix+counterFile)
	if err := writeSynced(tmp, []byte(strconv.Itoa(last+1)+"\n")); err != nil {
		return 0, err
	}
	if err := os.Rename(tmp, filepath.Join(dir, counterFile)); err != nil {
		return 0, fmt.Errorf("images: %w", err)
	}
	return last + 1, syncDir(dir)
}

// publish turns a finished partial directory into a version: image.json is written, everything is flushed
// to the disk, and only then does the directory get its name.
func (c *Catalog) publish(partial string, img Image) (Image, error) {
	img.Dir = c.dir(img.Ref)
	b, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	if err := writeSynced(filepath.Join(partial, ImageFile), append(b, '\n')); err != nil {
		return Image{}, err
	}
	if err := syncFS(partial); err != nil {
		return Image{}, err
	}
	if err := os.Rename(partial, img.Dir); err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	return img, syncDir(filepath.Dir(img.Dir))
}

// Remove deletes a version. The current version is refused while there are others: make another one current
// first. Whether a node still runs it is for the caller to know.
func (c *Catalog) Remove(ref Ref) error {
	if ref.Version == 0 {
		return fmt.Errorf("images: %q names no version (want %s:N): %w", ref, ref.Name, fs.ErrInvalid)
	}
	img, err := c.Find(ref)
	if err != nil {
		return err
	}
	unlock, err := c.lock(ref.Name)
	if err != nil {
		return err
	}
	defer unlock()
	versions, err := c.versions(ref.Name)
	if err != nil {
		return err
	}
	parent := filepath.Dir(img.Dir)
	if img.Current {
		if len(versions) > 1 {
			return fmt.Errorf("images: %s is current: make another version current first: %w", ref, fs.ErrPermission)
		}
		if err := os.Remove(filepath.Join(parent, currentLink)); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	// It is unpublished in one step; what a crash leaves of the rest is Clean's.
	gone := filepath.Join(parent, partialPrefix+strconv.Itoa(ref.Version))
	if err := os.Rename(img.Dir, gone); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return nil
}

// Clean removes what builds and removals left behind when Muster was killed. Images that are being built at
// the moment are left alone. (Mounts need no cleaning: a build's are in a namespace that ends with it.)
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
		left, _ := filepath.Glob(filepath.Join(c.Dir, name, partialPrefix+"*"))
		for _, path := range left {
			errs = append(errs, os.RemoveAll(path))
		}
		unlock()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("images: clean: %w", err)
	}
	return nil
}

// writeSynced writes a whole file and flushes it.
func writeSynced(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("images: write %s: %w", path, err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	return onDir(dir, (*os.File).Sync)
}

// syncFS flushes the whole file system of dir: one call instead of an fsync for each of 10,000 files.
func syncFS(dir string) error {
	return onDir(dir, func(f *os.File) error { return unix.Syncfs(int(f.Fd())) })
}

func onDir(dir string, do func(*os.File) error) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	if err := do(f); err != nil {
		return fmt.Errorf("images: sync %s: %w", dir, err)
	}
	return nil
}
