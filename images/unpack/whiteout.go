package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// The names by which a layer removes what lies under it (OCI image specification, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // AUFS's own files; they are nobody's content
)

// whiteout does what an entry says when its name is one of a whiteout, and reports whether it is.
func (r *Root) whiteout(name string) (bool, error) {
	base := path.Base(name)
	switch {
	case base == whiteoutOpaque:
		return true, r.hideAll(path.Dir(name))
	case strings.Contains("/"+name, "/"+whiteoutMeta):
		return true, nil
	case !strings.HasPrefix(base, whiteoutPrefix):
		return false, nil
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return true, fmt.Errorf("is a whiteout of nothing: %w", fs.ErrInvalid)
	}
	dir, err := r.openDir(path.Dir(name))
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	defer unix.Close(dir)
	r.forget()
	_, err = r.remove(dir, hidden, true)
	return true, err
}

// missing says that a directory is not there: nothing to hide.
func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// hideAll removes what lower layers have put into a directory.
func (r *Root) hideAll(name string) error {
	dir, err := r.openDir(name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r.forget()
	_, err = r.removeIn(dir, true)
	return err
}

// remove removes name from dir with all that is in it, except, when spare is set, what this layer has put
// there. It reports whether something is left. What is not there is no error.
func (r *Root) remove(dir int, name string, spare bool) (left bool, err error) {
	st, err := lstatat(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if spare {
		up, err := lstatat(dir, ".")
		if err != nil {
			return true, err
		}
		_, left = r.made[dirent{up.Ino, name}]
	}
	if !isDir(st) {
		if left {
			return true, nil
		}
		return false, unix.Unlinkat(dir, name, 0)
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return true, err
	}
	some, err := r.removeIn(fd, spare)
	if err != nil || some || left {
		return true, err
	}
	return false, unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// removeIn does that with everything in a directory, which it closes.
func (r *Root) removeIn(fd int, spare bool) (left bool, err error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return true, err
	}
	for _, n := range names {
		one, err := r.remove(fd, n, spare)
		if err != nil {
			return true, err
		}
		left = left || one
	}
	return left, nil
}
