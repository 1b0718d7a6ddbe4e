package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inRoot reaches into a root file system that has its own absolute symlinks (/var/run → /run). Every path
// is resolved by the kernel as if dir were "/" (openat2 with RESOLVE_IN_ROOT, Linux 5.6), so no name in an
// image leads out of it. os.Root would refuse such links, which every Debian has.
type inRoot struct{ dir string }

// open gives a handle on name, which is absolute, with O_PATH.
func (r inRoot) open(name string, flags uint64) (*os.File, error) {
	root, err := os.Open(r.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// stat reports whether name exists, links followed.
func (r inRoot) stat(name string) error {
	f, err := r.open(name, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// mkdirAll opens the directory name, after making what is missing of it.
func (r inRoot) mkdirAll(name string) (*os.File, error) {
	if name == "/" {
		return r.open("/", unix.O_DIRECTORY)
	}
	d, err := r.open(name, unix.O_DIRECTORY)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	parent, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = unix.Mkdirat(int(parent.Fd()), path.Base(name), 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return r.open(name, unix.O_DIRECTORY)
}

// writeFile puts content at name, by rename: what is there, a file or a symlink, is replaced and never
// written through.
func (r inRoot) writeFile(name string, mode fs.FileMode, content []byte) error {
	dir, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at, base := int(dir.Fd()), path.Base(name)
	tmp := ".muster-" + strconv.Itoa(os.Getpid()) + "-" + base
	if len(tmp) > 255 {
		tmp = ".muster-" + strconv.Itoa(os.Getpid())
	}
	fd, err := unix.Openat(at, tmp, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, werr := f.Write(content)
	err = errors.Join(werr, f.Chmod(mode.Perm()), f.Close()) // the umask is not ours to trust
	if err == nil {
		if err = unix.Renameat(at, tmp, at, base); err != nil {
			err = &os.PathError{Op: "rename", Path: name, Err: err}
		}
	}
	if err != nil {
		unix.Unlinkat(at, tmp, 0)
	}
	return err
}

// handle gives a path that leads to the open file whatever happens to its name: for mount(2).
func handle(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// cleanPath reports whether p is absolute, clean, and more than "/".
func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && !strings.ContainsRune(p, 0)
}
