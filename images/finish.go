package images

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// crashPoint is called after each step that changes something on the disk while a version is published,
// switched, packed or removed. Tests end the process in it.
var crashPoint = func(step string) {}

// finish turns a partial directory, with tree, kernel and initrd in it, into a published version: what other
// versions have as well is shared with them, every file is digested, the digest is signed, everything is
// flushed, and only then does the directory get its name.
//
// The caller holds the image's lock. With img.Ref.Version 0, which is usual, it gets the next number: a build
// that fails uses up none. When finish fails, the partial directory is the caller's to remove.
func (c *Catalog) finish(ctx context.Context, partial string, img Image, tell func(Stage, string)) (Image, error) {
	var err error
	if img.Ref.Version == 0 {
		if img.Ref.Version, err = c.next(img.Ref.Name); err != nil {
			return Image{}, err
		}
	}
	tell(StageManifest, "digesting every file, sharing what older versions have")
	s := newSharer(c, img.Ref.Name, partial)
	defer s.close()
	entries, digest, err := s.shareTree(ctx)
	if err != nil {
		return Image{}, err
	}
	for _, damage := range s.damaged.said {
		tell(StageManifest, damage)
	}
	crashPoint("shared")
	if err := writeManifest(filepath.Join(partial, ManifestFile), entries); err != nil {
		return Image{}, err
	}
	crashPoint("manifest")
	var t manifestTotals
	for i := range entries {
		t.add(&entries[i])
	}
	img.Digest, img.Files, img.Size, img.KernelSize, img.InitrdSize = digest, t.files, t.size, t.kernel, t.initrd
	tell(StagePublish, "writing to disk")
	img.Built = time.Now().UTC().Truncate(time.Second)
	if err := ctx.Err(); err != nil {
		return Image{}, err
	}
	return c.publish(partial, img)
}

// writeManifest writes the manifest of entries whose digests are there. What publish flushes need not be
// flushed here.
func writeManifest(file string, entries []entry) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	w := bufio.NewWriterSize(f, 256<<10)
	line := []byte(manifestHeader + "\n")
	_, err = w.Write(line)
	for i := range entries {
		if err != nil {
			break
		}
		line = append(entries[i].appendTo(line[:0]), '\n')
		_, err = w.Write(line)
	}
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("images: write %s: %w", file, err)
	}
	return nil
}

// publish turns a finished partial directory into a version: signature and image.json are written, everything
// is flushed to the disk, and only then does the directory get its name.
func (c *Catalog) publish(partial string, img Image) (Image, error) {
	dir := c.dir(img.Ref)
	if c.Key != nil {
		sig := signature(c.Key, signed(img.Ref, img.Digest))
		if err := os.WriteFile(filepath.Join(partial, SignatureFile), sig, 0o644); err != nil {
			return Image{}, fmt.Errorf("images: %w", err)
		}
		crashPoint("signature")
	}
	b, err := img.encode()
	if err != nil {
		return Image{}, err
	}
	if err := os.WriteFile(filepath.Join(partial, ImageFile), b, 0o644); err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	crashPoint("image.json")
	if err := syncFS(partial); err != nil {
		return Image{}, err
	}
	crashPoint("flushed")
	if _, err := os.Lstat(dir); err == nil {
		return Image{}, fmt.Errorf("images: %s is there already: %w", img.Ref, fs.ErrExist)
	}
	if err := os.Rename(partial, dir); err != nil {
		return Image{}, fmt.Errorf("images: %w", err)
	}
	crashPoint("named")
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return Image{}, err
	}
	crashPoint("named durably")
	// Remove does this as well, before a number could be given out again; here it is for those who remove
	// versions by hand, and a version is none the worse without.
	_ = c.count(img.Ref)
	crashPoint("counted")
	return c.Find(img.Ref)
}
