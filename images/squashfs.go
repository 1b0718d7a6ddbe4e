package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// packTool is Debian's squashfs-tools. (Writers in Go were measured: they lose setuid bits and links.)
const packTool = "mksquashfs"

// packWait is how often somebody who waits for another's Pack looks again: flock(2) cannot be cancelled.
const packWait = 100 * time.Millisecond

// Pack makes the squashfs and the seal of a published version, unless it has them. The version's tree and
// manifest do not change, and a tree that is not what its manifest says is not packed.
//
// Everything that the manifest tells is in the squashfs, but for POSIX ACLs, for which the format has no place;
// in Debian's roots only journals have some, and systemd-tmpfiles sets them at every boot.
//
// Two at a time for one version do the work once. When Pack fails, or ctx ends, nothing is left of it.
func (c *Catalog) Pack(ctx context.Context, ref Ref) (Image, error) {
	img, err := c.pack(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("images: pack %s: %w", ref, err)
	}
	return img, nil
}

func (c *Catalog) pack(ctx context.Context, ref Ref) (Image, error) {
	if c.Key == nil {
		return Image{}, fmt.Errorf("there is no signing key, and nodes hold nothing in RAM that is not signed: "+
			"give the catalog one (images.LoadKey makes it; muster serve does so at its start): %w", fs.ErrPermission)
	}
	img, err := c.Find(ref)
	if err != nil || c.packed(img) {
		return img, err
	}
	unlock, err := waitDir(ctx, img.Dir)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	// The other one has done it, or the version is gone.
	if img, err = c.Find(img.Ref); err != nil || c.packed(img) {
		return img, err
	}
	if err := c.undamaged(ctx, img); err != nil {
		return Image{}, err
	}
	if err := removeMatches(filepath.Join(img.Dir, partialPrefix+"*")); err != nil {
		return Image{}, err
	}
	tmp := filepath.Join(img.Dir, partialPrefix+SquashfsFile)
	defer os.Remove(tmp)
	if err := mksquashfs(ctx, filepath.Join(img.Dir, TreeDir), tmp); err != nil {
		return Image{}, err
	}
	crashPoint("squashfs made")
	seal, err := newSeal(ctx, img, tmp)
	if err != nil {
		return Image{}, err
	}
	return c.install(img, tmp, seal)
}

// install puts squashfs and seal in place. They count once image.json says so.
func (c *Catalog) install(img Image, tmp string, seal Seal) (Image, error) {
	line, err := seal.encode(c.Key)
	if err != nil {
		return Image{}, err
	}
	// Without image.json's word nodes are not sent to the old one any more, if there was one.
	if img.Squashfs != 0 {
		img.Squashfs = 0
		if err := c.describe(img); err != nil {
			return Image{}, err
		}
		crashPoint("no longer packed")
	}
	if err := onDir(tmp, (*os.File).Sync); err != nil {
		return Image{}, err
	}
	if err := os.Chmod(tmp, 0o644); err != nil {
		return Image{}, err
	}
	if err := os.Rename(tmp, filepath.Join(img.Dir, SquashfsFile)); err != nil {
		return Image{}, err
	}
	crashPoint("squashfs named")
	if err := replaceFile(filepath.Join(img.Dir, SealFile), line); err != nil {
		return Image{}, err
	}
	crashPoint("sealed")
	img.Squashfs = seal.Size
	if err := c.describe(img); err != nil {
		return Image{}, err
	}
	crashPoint("packed")
	return c.Find(img.Ref)
}

// describe replaces a version's image.json.
func (c *Catalog) describe(img Image) error {
	b, err := img.encode()
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(img.Dir, ImageFile), b)
}

// undamaged fails when the tree is not what was published: a seal would make the damage look right.
func (c *Catalog) undamaged(ctx context.Context, img Image) error {
	v := verifier{catalog: c, img: img}
	if err := errors.Join(v.records(), v.paths(ctx)); err != nil && !errors.Is(err, errTooMany) {
		return err
	}
	if n := len(v.problems); n > 0 {
		return fmt.Errorf("it is damaged (%d problems; first: %s): muster image verify %s: %w", n, v.problems[0], img.Ref, fs.ErrInvalid)
	}
	return nil
}

// waitDir takes the lock of a version's directory, waiting for whoever has it.
func waitDir(ctx context.Context, dir string) (unlock func(), err error) {
	for {
		unlock, err := lockDir(dir)
		if !errors.Is(err, fs.ErrExist) {
			return unlock, err
		}
		select {
		case <-time.After(packWait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// How the squashfs is made. Measured on a root of 389 MB (mail, web and DNS server): zstd at level 15 makes
// 27.7 % of it in 52 s of CPU; level 19 27.5 % in 120 s. Blocks of 256 KiB would save another 1.1 %, and those of
// 1 MiB nothing, but a node that reads 1500 small files here and there, as a boot does, spends 0.38 s of CPU on
// them with 128 KiB, 0.53 s with 256 KiB and 1.25 s with 1 MiB.
const (
	packLevel = 15
	packBlock = 128 << 10
)

// mksquashfs packs tree into file. Equal trees with equal times give equal bytes.
func mksquashfs(ctx context.Context, tree, file string) error {
	newest, err := newestTime(tree)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(packTool)
	if err != nil {
		return fmt.Errorf("%w: apt-get install squashfs-tools", err)
	}
	cmd := exec.CommandContext(ctx, program, tree, file,
		"-noappend", "-no-progress", "-quiet", "-no-recovery",
		"-comp", "zstd", "-Xcompression-level", strconv.Itoa(packLevel), "-b", strconv.Itoa(packBlock),
		"-reproducible", "-xattrs",
		// What is a hard link of what depends on what other versions share with this one.
		"-no-hardlinks",
		"-mkfs-time", strconv.FormatInt(newest, 10))
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := runBound(cmd); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%s: %s: %w", packTool, lines[len(lines)-1], err)
	}
	return nil
}

// exportable reports whether a squashfs can be exported by NFS when it is mounted: it has the table that finds an
// inode by its number (mksquashfs makes it unless -no-exports says otherwise; 8 bytes an inode).
func exportable(file string) (is bool, err error) {
	const flagsAt, flag = 24, 0x80
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var flags [2]byte
	_, err = f.ReadAt(flags[:], flagsAt)
	return binary.LittleEndian.Uint16(flags[:])&flag != 0, err
}

// Unexportable reports whether the version has a squashfs that no storage pair can export: Pack makes it anew. One
// that cannot be read is not said to be so.
func (img Image) Unexportable() bool {
	is, err := exportable(filepath.Join(img.Dir, SquashfsFile))
	return err == nil && !is
}

// runBound runs a command, after everything else on this machine: boots must not wait for it. It has a thread of
// its own, whose niceness it inherits, and with which it would die: the kernel sends Pdeathsig when the thread
// that started a child ends, not the process.
func runBound(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { // ends with the command, and its thread with it
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 10) // of this thread alone; without it the work is done, too
		done <- cmd.Run()
	}()
	return <-done
}

// newestTime is the latest mtime in tree, in seconds: a time for the squashfs that follows from what is in it.
func newestTime(tree string) (int64, error) {
	newest := int64(0)
	err := filepath.WalkDir(tree, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
		newest = max(newest, st.Mtim.Sec)
		return nil
	})
	// The superblock has 32 bits for it.
	return min(max(newest, 0), 1<<32-1), err
}
