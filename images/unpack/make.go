package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// make makes what a header says in a directory, under a name of one component, in place of what is there, and
// gives its type.
func (a *archive) make(dir int, base string, h *tar.Header, meta Meta, content io.Reader) (kind uint32, err error) {
	if h.Typeflag == tar.TypeDir {
		return unix.S_IFDIR, a.makeEntryDir(dir, base, meta)
	}
	if h.Typeflag == tar.TypeLink {
		return 0, a.makeLink(dir, base, h.Linkname)
	}
	kind, known := kinds[h.Typeflag]
	if !known {
		return 0, fmt.Errorf("an entry of the unknown type %q: %w", h.Typeflag, fs.ErrInvalid)
	}
	if err := a.clear(dir, base); err != nil {
		return 0, err
	}
	switch kind {
	case unix.S_IFREG:
		err = a.makeFile(dir, base, h.Size, content)
	case unix.S_IFLNK:
		err = unix.Symlinkat(h.Linkname, dir, base)
	default:
		var dev uint64
		if kind != unix.S_IFIFO {
			if dev, err = device(h); err != nil {
				return 0, err
			}
		}
		err = unix.Mknodat(dir, base, kind|0o600, int(dev))
	}
	return kind, err
}

// kinds are the types of st_mode for those of tar.
var kinds = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, '\x00': unix.S_IFREG, tar.TypeCont: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG,
	tar.TypeSymlink: unix.S_IFLNK, tar.TypeFifo: unix.S_IFIFO, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK,
}

func device(h *tar.Header) (uint64, error) {
	// The kernel's own dev_t has 12 bits for the major number and 20 for the minor one.
	if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
		return 0, fmt.Errorf("has the device number %d:%d: %w", h.Devmajor, h.Devminor, fs.ErrInvalid)
	}
	return unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)), nil
}

// clear removes what is in the way.
func (a *archive) clear(dir int, base string) error {
	st, err := lstatat(dir, base)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if isDir(st) || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		// dir itself stays open: it is Root's last parent, and forget would close it under our feet.
		a.lastName = ""
	}
	_, err = a.remove(dir, base, false)
	return err
}

// makeEntryDir makes a directory, or takes the one that is there.
func (a *archive) makeEntryDir(dir int, base string, meta Meta) error {
	st, err := lstatat(dir, base)
	if err == nil && isDir(st) {
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return clearXattrs(fd, meta.Xattrs)
	}
	if err := a.clear(dir, base); err != nil {
		return err
	}
	return unix.Mkdirat(dir, base, 0o700)
}

// makeLink makes a hard link to a file that is in the root already.
func (a *archive) makeLink(dir int, base, target string) error {
	to, err := clean(target)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	from, err := a.openDir(path.Dir(to))
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, absent(err))
	}
	defer unix.Close(from)
	st, err := lstatat(from, path.Base(to))
	if err == nil && isDir(st) {
		err = fmt.Errorf("is a directory: %w", fs.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, absent(err))
	}
	if have, err := lstatat(dir, base); err == nil && have.Ino == st.Ino && have.Dev == st.Dev {
		return nil
	}
	if err := a.clear(dir, base); err != nil {
		return err
	}
	if err := unix.Linkat(from, path.Base(to), dir, base, 0); err != nil {
		return fmt.Errorf("hard link to %q: %w", target, absent(err))
	}
	return nil
}

// absent says what it means when the target of a link is not there.
func absent(err error) error {
	if missing(err) {
		return fmt.Errorf("which is not there before it: %w", fs.ErrInvalid)
	}
	return err
}

// makeFile writes a new file.
func (a *archive) makeFile(dir int, base string, size int64, content io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A hole of a terabyte takes minutes to read, and no byte of the stream.
	got, err := copyHoles(fd, &meter{ctx: a.ctx, r: content}, a.buf, func(n int64) error { return a.space.Spend(fd, n) })
	if err != nil {
		return broken(err)
	}
	if got != size {
		return fmt.Errorf("the archive is cut off: %w", fs.ErrInvalid)
	}
	return nil
}
