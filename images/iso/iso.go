// Package iso fills a root from the squashfs inside of a distribution's live or installation ISO: ISO 9660
// (ECMA-119) with Rock Ridge or Joliet, read by go-diskfs. The squashfs is unpacked by unsquashfs where it lies in
// the ISO, without a copy.
//
// go-diskfs (1.9.4) could read the squashfs as well, but was measured to lose setuid, setgid and sticky bits,
// devices' numbers, and the name space of extended attributes, which hold file capabilities; unsquashfs keeps them.
//
// It deliberately does not read ISOs whose squashfs holds an image of another file system (Fedora's, until 2024:
// LiveOS/rootfs.img), nor adds up layered ones (Ubuntu's casper/a.b.squashfs): the lowest layer is a whole root.
package iso

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"muster/images"
)

// Source is images.Source for iso:FILE, with :PATH behind it where it is not the usual squashfs that is meant.
type Source struct{}

// Fill implements images.Source.
func (Source) Fill(ctx context.Context, what, dir string, o images.FillOptions) (string, error) {
	file, inside := split(what)
	file, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("iso: %w", err)
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Progress == nil {
		o.Progress = func(int, string) {}
	}
	origin, err := fill(ctx, file, inside, dir, o)
	if err != nil {
		return "", errors.Join(fmt.Errorf("iso: %s: %w", what, err), clearDir(dir))
	}
	return origin, nil
}

// split takes apart FILE[:PATH]. A file whose own name has a colon is one.
func split(what string) (file, inside string) {
	if _, err := os.Lstat(what); err == nil {
		return what, ""
	}
	if i := strings.LastIndexByte(what, ':'); i >= 0 {
		return what[:i], path.Clean(strings.TrimPrefix(what[i+1:], "/"))
	}
	return what, ""
}

func fill(ctx context.Context, file, inside, dir string, o images.FillOptions) (origin string, err error) {
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		return "", fmt.Errorf("unsquashfs is not installed: apt-get install squashfs-tools (make setup does): %w", fs.ErrNotExist)
	}
	disc, err := open(file)
	if err != nil {
		return "", err
	}
	defer disc.Close()
	files, err := disc.list()
	if err != nil {
		return "", err
	}
	root, err := choose(files, inside)
	if err != nil && disc.unread != nil {
		err = fmt.Errorf("%w (and some of it cannot be read: %w)", err, disc.unread)
	}
	if err != nil {
		return "", err
	}
	fmt.Fprintf(o.Log, "I: muster: %s is taken of %s\n", root.path, file)
	sq, err := disc.squashfs(root)
	if err != nil {
		return "", fmt.Errorf("%s: %w", root.path, err)
	}
	sum := make(chan error, 1)
	digest := sha256.New()
	reading, stop := context.WithCancel(ctx)
	defer stop()
	// Ends with the file, or with reading: unsquashfs takes longer.
	go func() {
		_, err := io.Copy(digest, &ctxReader{reading, io.NewSectionReader(disc.f, 0, disc.size)})
		sum <- err
	}()
	if err := sq.unpack(ctx, file, dir, o); err != nil {
		stop()
		<-sum // who is not done with the file
		return "", err
	}
	if err := <-sum; err != nil {
		return "", err
	}
	if err := disc.takeKernel(files, root, dir, o.Log); err != nil {
		return "", err
	}
	return "iso:" + file + ":" + root.path + "@sha256:" + hex.EncodeToString(digest.Sum(nil)), nil
}

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c *ctxReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// usual are the places of a root's squashfs: Debian live, Ubuntu, Fedora and its kin, Arch.
var usual = []string{"live/filesystem.squashfs", "casper/filesystem.squashfs", "LiveOS/squashfs.img", "arch/x86_64/airootfs.sfs"}

// choose finds the squashfs of the root: the one that was asked for, a usual one, the lowest layer of casper's,
// or the largest.
func choose(files []entry, inside string) (entry, error) {
	names := usual
	if inside != "" {
		names = []string{inside}
	}
	for _, name := range names {
		if i := slices.IndexFunc(files, func(e entry) bool { return strings.EqualFold(e.path, name) }); i >= 0 {
			return files[i], nil
		}
	}
	all := slices.DeleteFunc(slices.Clone(files), func(e entry) bool { return !strings.HasSuffix(strings.ToLower(e.path), ".squashfs") })
	if len(all) == 0 {
		return entry{}, fmt.Errorf("there is no squashfs with a root in it: is it a network or installer image? The live one has it: %w", fs.ErrInvalid)
	}
	if inside != "" {
		return entry{}, fmt.Errorf("it has no %s, but %s: %w", inside, list(all), fs.ErrNotExist)
	}
	// Of casper's layers a.squashfs, a.b.squashfs, a.b.c.squashfs only the first is a whole root.
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(strings.Count(path.Base(a.path), "."), strings.Count(path.Base(b.path), ".")), cmp.Compare(b.size, a.size))
	})
	return all[0], nil
}

func list(all []entry) string {
	var names []string
	for _, e := range all {
		names = append(names, e.path)
	}
	return strings.Join(names, ", ")
}

// clearDir removes what is in a directory.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
