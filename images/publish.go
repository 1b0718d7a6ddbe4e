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
	// counterFile holds the highest version number that was ever published: a number is never used again,
	// even when its version was removed, because nodes and logs name it.
	counterFile = "last-version"
)

// counted is the number in counterFile; 0 without one.
func (c *Catalog) counted(name string) (int, error) {
	file := filepath.Join(c.Dir, name, counterFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("images: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("images: %s: %w", file, err)
	}
	return n, nil
}

// next is the number that the next version of the image gets. Nothing is written: it is the next one's until
// there is a version of that number. The caller holds the image's lock.
func (c *Catalog) next(name string) (int, error) {
	last, err := c.counted(name)
	if err != nil {
		return 0, err
	}
	versions, err := c.versions(name)
	if err != nil {
		return 0, err
	}
	if n := len(versions); n > 0 {
		last = max(last, versions[n-1])
	}
	return last + 1, nil
}

// count makes sure, durably, that no later version gets ref's number. The caller holds the image's lock.
func (c *Catalog) count(ref Ref) error {
	last, err := c.counted(ref.Name)
	if err != nil || last >= ref.Version {
		return err
	}
	return replaceFile(filepath.Join(c.Dir, ref.Name, counterFile), []byte(strconv.Itoa(ref.Version)+"\n"))
}

// encode is what image.json holds: what is derived is left out.
func (img Image) encode() ([]byte, error) {
	img.Signed, img.Current = false, false
	b, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return append(b, '\n'), nil
}

// replaceFile writes a file durably, mode 0644. Readers see the old or the new one, and so does who comes
// after a crash.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), partialPrefix+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("images: write %s: %w", path, err), os.Remove(f.Name()))
	}
	crashPoint("written: " + filepath.Base(path))
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("images: %w", err), os.Remove(f.Name()))
	}
	crashPoint("replaced: " + filepath.Base(path))
	return syncDir(filepath.Dir(path))
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
