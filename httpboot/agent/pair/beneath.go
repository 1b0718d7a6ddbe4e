package pair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// safePath says whether a path of the boot server's is relative, clean and made of letters that need no quotes
// anywhere.
func safePath(p string) bool {
	if !fs.ValidPath(p) || p == "." {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if !safeName(part) {
			return false
		}
	}
	return true
}

// safeName says whether a name is one: it has no dot at its start, where our own names have theirs.
func safeName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@:"
	return s != "" && s[0] != '.' && s[0] != '-' && len(s) < 200 && strings.Trim(s, letters) == ""
}

// beneath opens a directory below another one without following a single link and without leaving the file system:
// clients write in there (openat2(2), Linux 5.6). The handle is for use in the *at calls.
func beneath(dir *os.File, rel string) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: rel, Err: err}
	}
	return os.NewFile(uintptr(fd), path.Join(dir.Name(), rel)), nil
}

// makeDir makes a directory below volume unless there is one, which it leaves alone. It appears with its owner and
// mode; parents that are missing are root's.
func makeDir(volume *os.File, d Dir) error {
	if !safePath(d.Path) {
		return fmt.Errorf("pair: directory %q: %w", d.Path, fs.ErrInvalid)
	}
	have, err := beneath(volume, d.Path)
	if err == nil {
		return have.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pair: %w", err)
	}
	parent := volume
	if up := path.Dir(d.Path); up != "." {
		if err := makeDir(volume, Dir{Path: up, Mode: 0o755}); err != nil {
			return err
		}
		if parent, err = beneath(volume, up); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
		defer parent.Close()
	}
	if err := makeAt(parent, path.Base(d.Path), d); err != nil {
		return fmt.Errorf("pair: directory %s: %w", d.Path, err)
	}
	return nil
}

func makeAt(parent *os.File, name string, d Dir) error {
	at, tmp := int(parent.Fd()), ".muster-new-"+name
	// What a crash has left is empty.
	if err := unix.Unlinkat(at, tmp, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Mkdirat(at, tmp, 0o700); err != nil {
		return err
	}
	fd, err := unix.Openat(at, tmp, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The mode last: a change of owner takes setuid and setgid away.
	if err := unix.Fchown(fd, d.UID, d.GID); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, d.Mode&0o7777); err != nil {
		return err
	}
	if err := unix.Fsync(fd); err != nil {
		return err
	}
	return unix.Renameat2(at, tmp, at, name, unix.RENAME_NOREPLACE)
}
