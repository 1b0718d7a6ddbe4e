package images

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Catalog keeps the published versions: <Dir>/<name>/<version>/{tree,vmlinuz,initrd.img,manifest,signature,
// image.json}, with <Dir>/<name>/current a symbolic link to a version. It holds no state in memory: several
// processes may use one directory.
type Catalog struct {
	// Dir is the directory of all images. It is made when it is missing.
	Dir string
	// Key signs what is published and sealed (see LoadKey). Nil: nothing is signed, and no node holds an image
	// in RAM.
	Key ed25519.PrivateKey
	// Logger gets a line when a published file is found damaged while a new version is made; nil is silent.
	Logger *slog.Logger
}

// currentLink is the symbolic link in an image's directory that names its current version.
const currentLink = "current"

// Find gives the version that ref names; version 0 is the current one. The error wraps fs.ErrNotExist when
// there is none, and says how to build it.
func (c *Catalog) Find(ref Ref) (Image, error) {
	current, err := c.current(ref.Name)
	if err != nil {
		return Image{}, err
	}
	if ref.Version > 0 {
		img, err := c.read(ref)
		img.Current = ref.Version == current
		return img, err
	}
	for current > 0 {
		img, err := c.read(Ref{ref.Name, current})
		img.Current = true
		if !errors.Is(err, fs.ErrNotExist) {
			return img, err
		}
		// Another one may have become current, and this one removed, since we read the link.
		now, nowErr := c.current(ref.Name)
		if nowErr != nil || now == current {
			return img, err
		}
		current = now
	}
	return Image{}, c.missing(ref)
}

// missing is the error for a ref that names nothing. It tells an image that was never built from a version
// that is gone: what to do differs.
func (c *Catalog) missing(ref Ref) error {
	versions, _ := c.versions(ref.Name)
	switch {
	case len(versions) == 0:
		return fmt.Errorf("images: there is no image %q: build it: muster image build %s: %w", ref, ref.Name, fs.ErrNotExist)
	case ref.Version == 0:
		return fmt.Errorf("images: no version of %q is current (there are %v): build it: muster image build %s: %w", ref.Name, versions, ref.Name, fs.ErrNotExist)
	}
	return fmt.Errorf("images: there is no image %q (there are versions %v): build it: muster image build %s: %w", ref, versions, ref.Name, fs.ErrNotExist)
}

// errDamaged says that a version is there, and that its image.json cannot be understood.
var errDamaged = errors.New("is damaged: muster image remove it, or restore the file")

// read loads one version's image.json. Where that is damaged, which errDamaged tells, ref and directory are good all
// the same.
func (c *Catalog) read(ref Ref) (Image, error) {
	dir := c.dir(ref)
	b, err := os.ReadFile(filepath.Join(dir, ImageFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, c.missing(ref)
	}
	if err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	var img Image
	if err := json.Unmarshal(b, &img); err != nil {
		return Image{Ref: ref, Dir: dir}, fmt.Errorf("images: %s %w (%w)", filepath.Join(dir, ImageFile), errDamaged, err)
	}
	img.Ref, img.Dir, img.Current = ref, dir, false
	img.Signed = c.Key != nil && checkSignature(c.Key, dir, ref, img.Digest) == ""
	return img, nil
}

// List gives every published version, by name and version. What is not a version's directory is passed
// over; of a version whose image.json is damaged, nothing is known but its Ref and Dir. It is empty when Dir does not
// exist.
func (c *Catalog) List() ([]Image, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, name := range names {
		versions, err := c.versions(name)
		if err != nil {
			return nil, err
		}
		current, err := c.current(name)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			img, err := c.read(Ref{name, v})
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since we listed the directory
			}
			if err != nil && !errors.Is(err, errDamaged) {
				return nil, err
			}
			img.Current = v == current
			all = append(all, img)
		}
	}
	return all, nil
}

// names gives the directories that can be images.
func (c *Catalog) names() ([]string, error) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// versions gives the version directories of an image, rising.
func (c *Catalog) versions(name string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(c.Dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	var all []int
	for _, e := range entries {
		if v := versionOf(e.Name()); v > 0 && e.IsDir() {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return all, nil
}

// versionOf reads a version's directory name; 0 for anything else ("007", "-1", "current").
func versionOf(s string) int {
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || strconv.Itoa(v) != s {
		return 0
	}
	return v
}

// current reads the link; 0 without one.
func (c *Catalog) current(name string) (int, error) {
	if !ValidName(name) {
		return 0, fmt.Errorf("images: %q is not an image name: %w", name, fs.ErrInvalid)
	}
	target, err := os.Readlink(filepath.Join(c.Dir, name, currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("images: %w", err)
	}
	return versionOf(target), nil
}

// dir is where a version is.
func (c *Catalog) dir(ref Ref) string {
	return filepath.Join(c.Dir, ref.Name, strconv.Itoa(ref.Version))
}

// bootFiles are what a machine may load of a version.
var bootFiles = []string{KernelFile, InitrdFile, SquashfsFile, SealFile}

// Open opens one of a version's boot files for reading: kernel, initrd, squashfs or seal. Any other name does
// not exist: what is asked for may come from the network. The file never lies outside of the version's
// directory.
func (c *Catalog) Open(ref Ref, file string) (*os.File, error) {
	if !slices.Contains(bootFiles, file) {
		return nil, fmt.Errorf("images: %q is not a boot file: %w", file, fs.ErrNotExist)
	}
	img, err := c.Find(ref)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(img.Dir)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	f, err := root.Open(file)
	if err != nil {
		return nil, fmt.Errorf("images: %s: %w", ref, err)
	}
	return f, nil
}
