// Package rootfs fills a root from what has one already: an archive (tar:FILE) or a directory (dir:DIR). Both
// keep everything that a root is made of: modes with setuid, numeric owners, times, links of both kinds, devices,
// FIFOs, extended attributes with file capabilities and ACLs, and holes.
//
// It deliberately does not read the archives that docker save writes (that is an image, not a root: unpack it and
// use oci-layout:), and does not follow mounts out of a directory.
package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"muster/images"
	"muster/images/unpack"
)

// Tar is images.Source for tar:FILE, plain or compressed by gzip, zstd, xz or bzip2. The origin has the file's
// digest.
type Tar struct{}

// Fill implements images.Source.
func (Tar) Fill(ctx context.Context, what, dir string, o images.FillOptions) (string, error) {
	path, err := filepath.Abs(what)
	if err != nil {
		return "", fmt.Errorf("rootfs: %w", err)
	}
	sum, err := fillTar(ctx, path, dir, o)
	if err != nil {
		return "", errors.Join(fmt.Errorf("rootfs: %s: %w", what, err), clearDir(dir))
	}
	return "tar:" + path + "@sha256:" + sum, nil
}

func fillTar(ctx context.Context, path, dir string, o images.FillOptions) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", errors.Unwrap(err) // the path is told already
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("want an archive, a file: %w", fs.ErrInvalid)
	}
	root, err := unpack.Open(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	hash := sha256.New()
	p := &progress{tell: o.Progress, size: info.Size(), message: "unpacking " + filepath.Base(path)}
	stats, err := root.Apply(ctx, io.TeeReader(f, io.MultiWriter(hash, p)), unpack.Options{Log: o.Log})
	if err != nil {
		return "", err
	}
	if stats.Entries == 0 {
		return "", fmt.Errorf("it is empty: %w", fs.ErrInvalid)
	}
	if savedImage(dir) {
		return "", fmt.Errorf("it holds a container image, not a root: unpack it and use oci-layout:DIR: %w", fs.ErrInvalid)
	}
	_, err = io.Copy(hash, f) // what lies behind the compressed stream belongs to the file's digest
	return hex.EncodeToString(hash.Sum(nil)), err
}

// savedImage says that a directory is what docker save or skopeo wrote.
func savedImage(dir string) bool {
	for _, name := range []string{"manifest.json", "oci-layout"} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			_, err := os.Lstat(filepath.Join(dir, "etc"))
			return errors.Is(err, fs.ErrNotExist)
		}
	}
	return false
}

// clearDir removes what is in a directory.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// progress counts bytes.
type progress struct {
	tell       func(int, string)
	message    string
	size, done int64
	percent    int
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.add(int64(len(b)))
	return len(b), nil
}

func (p *progress) add(n int64) {
	p.done += n
	percent := 0
	if p.size > 0 {
		percent = int(min(p.done, p.size) * 100 / p.size)
	}
	if p.tell != nil && percent > p.percent {
		p.percent = percent
		p.tell(percent, fmt.Sprintf("%s: %d of %d MB", p.message, p.done>>20, p.size>>20))
	}
}
