package rootfs

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"muster/images/unpack"
)

var errVanished = errors.New("it vanished")

// vanished makes of a source that is not there any more errVanished. A name that is another kind of file now is
// one that vanished, too.
func vanished(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE) {
		return errVanished
	}
	return err
}

// entry copies one name with all that is below it.
func (c *copier) entry(src, dst int, name, path string) (err error) {
	mount, err := mountAt(src, name)
	if err != nil {
		return vanished(err)
	}
	meta, st, err := unpack.MetaAt(src, name)
	if err != nil {
		return vanished(err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR && st.Nlink > 1 && mount == c.mount {
		id := inode{st.Dev, st.Ino}
		if first, has := c.links[id]; has {
			return unix.Linkat(c.root, first, dst, name, 0)
		}
		defer func() {
			if err == nil && kind != unix.S_IFSOCK {
				c.links[id] = path
			}
		}()
	}
	switch {
	case mount != c.mount:
		fmt.Fprintf(c.opts.Log, "I: muster: %q is a mount: it is left empty\n", path)
		err = emptyAt(dst, name, kind)
	case kind == unix.S_IFDIR:
		err = c.subdir(src, dst, name, path)
	case kind == unix.S_IFREG:
		meta, err = c.file(src, dst, name, path, meta)
	case kind == unix.S_IFLNK:
		err = c.symlink(src, dst, name)
	case kind == unix.S_IFSOCK:
		return nil // nobody listens in an image
	default:
		err = unix.Mknodat(dst, name, kind|0o600, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	return meta.Set(dst, name, kind, c.lost(path))
}

// emptyAt makes a mount's place.
func emptyAt(dst int, name string, kind uint32) error {
	if kind == unix.S_IFDIR {
		return unix.Mkdirat(dst, name, 0o700)
	}
	fd, err := create(dst, name)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func create(dst int, name string) (int, error) {
	return unix.Openat(dst, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
}

func (c *copier) subdir(src, dst int, name, path string) error {
	from, err := unix.Openat(src, name, openDirFlags, 0)
	if err != nil {
		return vanished(err)
	}
	defer unix.Close(from)
	if err := unix.Mkdirat(dst, name, 0o700); err != nil {
		return err
	}
	to, err := unix.Openat(dst, name, openDirFlags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	return c.dir(from, to, path)
}

func (c *copier) symlink(src, dst int, name string) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(src, name, buf)
	if err != nil {
		return vanished(err)
	}
	return unix.Symlinkat(string(buf[:n]), dst, name)
}

// tries is how often a file that changes is copied before its copy is taken as it is.
const tries = 3

// file copies a regular file, and gives what it has beside its content when that was copied.
func (c *copier) file(src, dst int, name, path string, meta unpack.Meta) (unpack.Meta, error) {
	// Not blocking: it may have become a FIFO since.
	from, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return meta, vanished(err)
	}
	defer unix.Close(from)
	to, err := create(dst, name)
	if err != nil {
		return meta, err
	}
	defer unix.Close(to)
	for try := 1; ; try++ {
		var before, after unix.Stat_t
		if err := unix.Fstat(from, &before); err != nil {
			return meta, err
		}
		if before.Mode&unix.S_IFMT != unix.S_IFREG {
			return meta, errors.Join(errVanished, unix.Unlinkat(dst, name, 0))
		}
		if err := c.content(from, to, before.Size); err != nil {
			return meta, err
		}
		if err := unix.Fstat(from, &after); err != nil {
			return meta, err
		}
		if before.Ctim == after.Ctim && before.Size == after.Size {
			return meta, nil
		}
		if try == tries {
			c.restless++
			_, err := fmt.Fprintf(c.opts.Log, "W: muster: %q changes while it is copied\n", path)
			return meta, err
		}
		if meta, _, err = unpack.MetaAt(src, name); err != nil {
			return meta, errors.Join(vanished(err), unix.Unlinkat(dst, name, 0))
		}
	}
}

// content copies size bytes, leaving out holes.
func (c *copier) content(from, to int, size int64) error {
	if err := errors.Join(unix.Ftruncate(to, 0), unix.Ftruncate(to, size)); err != nil {
		return err
	}
	for at := int64(0); at < size; {
		data, err := unix.Seek(from, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(from, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := c.piece(from, to, data, min(end, size)); err != nil {
			return err
		}
		at = max(end, data+1)
	}
	return nil
}

// pieceSize is what is copied before ctx and the disk are looked at again.
const pieceSize = 8 << 20

// piece copies the bytes from at to end, in the kernel where it can: on some file systems they are shared.
func (c *copier) piece(from, to int, at, end int64) error {
	for at < end {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		n := int(min(end-at, pieceSize))
		if err := c.space.Spend(to, int64(n)); err != nil {
			return err
		}
		in, out := at, at
		n, err := unix.CopyFileRange(from, &in, to, &out, n, 0)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
			n, err = c.readWrite(from, to, at, min(end-at, pieceSize))
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n == 0 && err == nil {
			return nil // it became shorter; file sees that
		}
		at += int64(max(n, 0))
		c.progress.add(int64(max(n, 0)))
	}
	return nil
}

// readWrite copies n bytes at an offset by hand.
func (c *copier) readWrite(from, to int, at, n int64) (int, error) {
	r := io.NewSectionReader(fdAt(from), at, n)
	written, err := io.Copy(io.NewOffsetWriter(fdAt(to), at), r)
	return int(written), err
}

// fdAt reads and writes at an offset.
type fdAt int

// ReadAt implements io.ReaderAt.
func (f fdAt) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pread(int(f), b[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f fdAt) WriteAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := unix.Pwrite(int(f), b[n:], off+int64(n))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return n, err
		}
		n += max(m, 0)
	}
	return n, nil
}
