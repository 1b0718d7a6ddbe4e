package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"muster/images"
	"muster/images/unpack"
)

// Dir is images.Source for dir:DIR. Mounts below DIR become empty directories, sockets are left out. What
// changes while it is copied is copied again; what never holds still, and what vanishes, is told in the log:
// better copy a snapshot, or a system that is not running.
type Dir struct{}

// Fill implements images.Source.
func (Dir) Fill(ctx context.Context, what, dir string, o images.FillOptions) (string, error) {
	path, err := filepath.Abs(what)
	if err != nil {
		return "", fmt.Errorf("rootfs: %w", err)
	}
	if err := fillDir(ctx, path, dir, o); err != nil {
		return "", errors.Join(fmt.Errorf("rootfs: %s: %w", what, err), clearDir(dir))
	}
	return "dir:" + path, nil
}

const openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func fillDir(ctx context.Context, from, to string, o images.FillOptions) error {
	src, err := unix.Open(from, openDirFlags&^unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := unix.Open(to, openDirFlags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	if err := apart(src, to); err != nil {
		return err
	}
	c := &copier{ctx: ctx, opts: o, root: dst, links: map[inode]string{}}
	if c.opts.Log == nil {
		c.opts.Log = io.Discard
	}
	if c.mount, err = mountAt(src, ""); err != nil {
		return err
	}
	c.progress = progress{tell: o.Progress, message: "copying " + from}
	if err := c.measure(src); err != nil {
		return err
	}
	if err := (&unpack.Space{}).Spend(dst, c.progress.size); err != nil {
		return fmt.Errorf("%d MB to copy: %w", c.progress.size>>20, err)
	}
	if err := c.dir(src, dst, ""); err != nil {
		return err
	}
	meta, _, err := unpack.MetaAt(src, ".")
	if err == nil {
		err = meta.Set(dst, ".", unix.S_IFDIR, c.lost("."))
	}
	if c.restless > 0 && err == nil {
		_, err = fmt.Fprintf(c.opts.Log, "W: muster: %d files changed or vanished while they were copied\n", c.restless)
	}
	return err
}

// apart checks that the copy does not lie in what is copied.
func apart(src int, to string) error {
	var root, up unix.Stat_t
	if err := unix.Fstat(src, &root); err != nil {
		return err
	}
	there, err := mountAt(src, "")
	if err != nil {
		return err
	}
	for dir := filepath.Clean(to); ; dir = filepath.Dir(dir) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Fstat(fd, &up)
		here, merr := mountAt(fd, "")
		_ = unix.Close(fd)
		if err := errors.Join(err, merr); err != nil {
			return err
		}
		if here != there {
			return nil // mounts are not followed
		}
		if up.Ino == root.Ino && up.Dev == root.Dev {
			return fmt.Errorf("the images themselves (%s) lie in it: mount it (mount --bind) without them, or name a directory beside them: %w", to, fs.ErrInvalid)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// mountAt tells the mount that name in dir, or dir itself, belongs to.
func mountAt(dir int, name string) (uint64, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var st unix.Statx_t
	err := unix.Statx(dir, name, flags, unix.STATX_MNT_ID, &st)
	return st.Mnt_id, err
}

type inode struct{ dev, ino uint64 }

// copier is one copy under way.
type copier struct {
	ctx      context.Context
	opts     images.FillOptions
	root     int    // of the copy
	mount    uint64 // that is copied
	links    map[inode]string
	space    unpack.Space
	progress progress
	restless int
}

func (c *copier) lost(name string) func(string, error) {
	return func(xattr string, err error) {
		fmt.Fprintf(c.opts.Log, "W: muster: %q: %s is not kept: %v\n", name, xattr, err)
	}
}

// names lists a directory.
func names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", openDirFlags, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	return f.Readdirnames(-1)
}

// measure adds up what a directory's files take on the disk.
func (c *copier) measure(dir int) error {
	all, err := names(dir)
	if err != nil {
		return err
	}
	for _, name := range all {
		var st unix.Stat_t
		mount, err := mountAt(dir, name)
		if err == nil {
			err = unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		}
		if errors.Is(err, unix.ENOENT) || err == nil && mount != c.mount {
			continue
		}
		if err := errors.Join(err, c.ctx.Err()); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			c.progress.size += share(st)
			continue
		}
		fd, err := unix.Openat(dir, name, openDirFlags, 0)
		if err != nil {
			continue // dir tells why
		}
		err = c.measure(fd)
		_ = unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// share is the bytes on the disk that one name of a file stands for: of a file with two names half each time. One that
// was removed at this moment has none, and so have files of some FUSE file systems.
func share(st unix.Stat_t) int64 { return st.Blocks * 512 / max(int64(st.Nlink), 1) }

// dir copies what is in a directory.
func (c *copier) dir(src, dst int, path string) error {
	all, err := names(src)
	if err != nil {
		return err
	}
	for _, name := range all {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		path := filepath.Join(path, name)
		err := c.entry(src, dst, name, path)
		if errors.Is(err, errVanished) {
			c.restless++
			fmt.Fprintf(c.opts.Log, "W: muster: %q vanished while it was copied\n", path)
			continue
		}
		if err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
	}
	return nil
}
