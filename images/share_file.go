package images

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// openCandidate opens a published file without leaving its version's directory, however its tree may have
// been tampered with.
func openCandidate(c candidate) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(int(c.dir.Fd()), c.path, &how)
	if errors.Is(err, unix.EPERM) { // not the owner
		how.Flags &^= unix.O_NOATIME
		fd, err = unix.Openat2(int(c.dir.Fd()), c.path, &how)
	}
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: c.path, Err: err}
	}
	return os.NewFile(uintptr(fd), c.path), nil
}

// compare says how the old file differs from f, of which e and, while it is small, w.content are what was
// read; empty when it does not.
func (w *scanWorker) compare(e *entry, f, old *os.File, was *unix.Stat_t) string {
	if was.Mode&unix.S_IFMT != unix.S_IFREG || was.Mode&0o7777 != e.mode || was.Uid != e.uid || was.Gid != e.gid || was.Size != e.size {
		return "has another mode, owner or size"
	}
	if xattrs, err := fileXattrs(old); err != nil || !slices.Equal(xattrs, e.xattrs) {
		return "has other extended attributes"
	}
	if w.other == nil {
		w.other = make([]byte, scanBuffer)
	}
	if w.whole {
		n, err := io.ReadFull(old, w.other)
		if err == nil || n == 0 && err != io.EOF || !bytes.Equal(w.other[:n], w.content) {
			return "has another content"
		}
		return ""
	}
	same, err := w.equal(f, old)
	switch {
	case err != nil:
		return "cannot be read: " + err.Error()
	case !same:
		return "has another content"
	}
	return ""
}

// equal reads both files from their beginning.
func (w *scanWorker) equal(f, old *os.File) (bool, error) {
	for offset := int64(0); ; {
		n, err := f.ReadAt(w.buf, offset)
		if err != nil && err != io.EOF {
			return false, err
		}
		m, oldErr := old.ReadAt(w.other, offset)
		if oldErr != nil && oldErr != io.EOF {
			return false, oldErr
		}
		if !bytes.Equal(w.buf[:n], w.other[:m]) {
			return false, nil
		}
		if err == io.EOF {
			return oldErr == io.EOF, nil
		}
		offset += int64(n)
	}
}

// linkFile gives an open file one more name. It is the file that was compared, whatever has its old name now.
func linkFile(old *os.File, name string) error {
	fd := int(old.Fd())
	err := unix.Linkat(fd, "", unix.AT_FDCWD, name, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOENT) { // removed meanwhile; or not root
		err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}
	return err
}

// clone makes name a reflink of old, with the attributes and times of e. On an error there is no such file.
func clone(name string, old *os.File, e *entry, st *unix.Stat_t) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	err = unix.IoctlFileClone(fd, int(old.Fd()))
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
func renameOver(tmp, own string) bool {
	if err := unix.Rename(tmp, own); err != nil {
		_ = os.Remove(tmp)
		return false
	}
	return true
}
