package images

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// openCandidate opens a published file without leaving its version's directory, however its tree may have
// been tampered with.
func openCandidate(c candidate) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(int(c.dir.Fd()), c.path, &how)
	if errors.Is(err, unix.EPERM) { // not the owner
		how.Flags &^= unix.O_NOATIME
		fd, err = unix.Openat2(int(c.dir.Fd()), c.path, &how)
	}
	return fd, err
}

// errDiffers says that two files have different bytes.
var errDiffers = errors.New("has another content")

// compare fails when the old file differs from that at hand, e: with errDiffers in the bytes, or with what its
// manifest did not say.
func (w *scanWorker) compare(e *entry, old int, was *unix.Stat_t) error {
	if was.Mode&unix.S_IFMT != unix.S_IFREG || was.Mode&0o7777 != e.mode || was.Uid != e.uid || was.Gid != e.gid || was.Size != e.size {
		return errors.New("has another mode, owner or size")
	}
	if xattrs, err := fileXattrs(old, e.path); err != nil || !slices.Equal(xattrs, e.xattrs) {
		return errors.New("has other extended attributes")
	}
	if w.other == nil {
		w.other = make([]byte, scanBuffer)
	}
	for offset := int64(0); offset < e.size; offset += int64(w.n) {
		if err := errors.Join(w.ctx.Err(), w.load(offset)); err != nil {
			return errNotShared
		}
		n, err := readAt(old, w.other, offset, was)
		if err != nil {
			return err // a bad block
		}
		if w.n == 0 || !bytes.Equal(w.buf[:w.n], w.other[:n]) {
			return errDiffers
		}
	}
	return nil
}

// linkFile gives an open file one more name. It is the file that was compared, whatever has its old name now.
func linkFile(fd int, name string) error {
	err := unix.Linkat(fd, "", unix.AT_FDCWD, name, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) { // removed meanwhile; or not root
		err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

// clone makes name a reflink of old, with the attributes and times of e. On an error there is no such file.
func clone(name string, old int, e *entry, st *unix.Stat_t) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	err = unix.IoctlFileClone(fd, old)
	if err == nil {
		err = unix.Fchown(fd, int(e.uid), int(e.gid))
	}
	if err == nil { // after chown(2), which takes setuid away
		err = unix.Fchmod(fd, e.mode)
	}
	for _, x := range e.xattrs {
		if err == nil {
			err = unix.Fsetxattr(fd, x.name, []byte(x.value), 0)
		}
	}
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}

// cannotClone says whether err is how a file system says that it has no reflinks. (overlayfs and others pass
// on what is below them.)
func cannotClone(err error) bool {
	for _, no := range []error{unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL, unix.EXDEV, unix.ENOSYS, unix.EPERM} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// renameOver puts tmp in the place of own; otherwise tmp goes.
func renameOver(tmp, own string) error {
	err := unix.Rename(tmp, own)
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}
