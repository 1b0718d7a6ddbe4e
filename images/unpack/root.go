package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a directory that archives are applied to, one after the other. It is used by one goroutine at a
// time.
type Root struct {
	dir string
	fd  int

	// The parent of the last entry, kept open: neighbours in a tree are neighbours in an archive. Its file
	// is -1 when there is none. Everything that may change what a name means forgets it.
	lastName string
	lastFD   int

	// made holds what the layer under way has put there, which its own whiteouts spare; nil where there are
	// no whiteouts.
	made map[dirent]struct{}
}

// dirent is a name in a directory, whichever way leads there.
type dirent struct {
	dir  uint64 // the directory's inode
	name string
}

// Open opens an existing directory.
func Open(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", &fs.PathError{Op: "open", Path: dir, Err: err})
	}
	return &Root{dir: dir, fd: fd, lastFD: -1}, nil
}

// Close releases it.
func (r *Root) Close() error {
	r.forget()
	return unix.Close(r.fd)
}

// maxLinks is how many dangling links are followed for one name, as the kernel's own limit.
const maxLinks = 40

// clean gives the name below the root, "." for the root itself. It fails when the name climbs out.
func clean(name string) (string, error) {
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", fmt.Errorf("leads out of the root: %w", fs.ErrInvalid)
			}
		default:
			depth++
		}
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("has a NUL in its name: %w", fs.ErrInvalid)
	}
	if name == "" {
		return ".", nil
	}
	return name, nil
}

// openDir opens a directory; links are followed as if the root were /.
func (r *Root) openDir(name string) (int, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(r.fd, name, how)
		// EAGAIN: somewhere on the machine a directory was renamed while ".." was looked up.
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// parent gives the directory that name lies in, and makes it when it is missing. It stays Root's.
func (r *Root) parent(name string) (int, error) {
	dir := path.Dir(name)
	if r.lastFD >= 0 && r.lastName == dir {
		return r.lastFD, nil
	}
	r.forget()
	fd, err := r.makeDir(dir, 0)
	if err != nil {
		return -1, fmt.Errorf("its directory %q: %w", dir, err)
	}
	r.lastName, r.lastFD = dir, fd
	return fd, nil
}

// forget closes the kept parent.
func (r *Root) forget() {
	if r.lastFD >= 0 {
		_ = unix.Close(r.lastFD) // opened for reading: nothing to lose
	}
	r.lastFD = -1
}

// makeDir opens a directory and makes what is missing of it, also behind links whose target is not there yet
// (var/run -> /run comes before run in many archives).
func (r *Root) makeDir(name string, links int) (int, error) {
	fd, err := r.openDir(name)
	if !errors.Is(err, unix.ENOENT) || name == "." {
		return fd, err
	}
	if links > maxLinks {
		return -1, unix.ELOOP
	}
	up, err := r.makeDir(path.Dir(name), links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	base := path.Base(name)
	if err = unix.Mkdirat(up, base, 0o755); err == nil {
		err = Meta{}.disinherit(pathAt(up, base), unix.S_IFDIR)
		// Also where this process has an umask.
		if err = errors.Join(err, unix.Fchmodat(up, base, 0o755, 0)); err != nil {
			return -1, err
		}
		if err = r.note(up, base); err == nil {
			return r.openDir(name)
		}
	}
	if !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	target, err := readlinkat(up, base)
	if err != nil {
		return -1, err
	}
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	target, _ = clean(path.Clean(target)) // absolute: it cannot climb out
	fd, err = r.makeDir(target, links+1)
	if err != nil {
		return -1, err
	}
	_ = unix.Close(fd)
	return r.openDir(name)
}

// note remembers that the layer under way put name there.
func (r *Root) note(dir int, name string) error {
	if r.made == nil {
		return nil
	}
	st, err := lstatat(dir, ".")
	if err == nil {
		r.made[dirent{st.Ino, name}] = struct{}{}
	}
	return err
}

func readlinkat(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// lstatat reads what name is in dir, never following it.
func lstatat(dir int, name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func isDir(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
