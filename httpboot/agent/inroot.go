package agent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// inRoot reaches into a root file system that has its own absolute symlinks (/var/run → /run). Every path
// is resolved by the kernel as if dir were "/" (openat2 with RESOLVE_IN_ROOT, Linux 5.6), so no name in an
// image leads out of it. os.Root would refuse such links, which every Debian has.
type inRoot struct{ dir string }

// open gives a handle on name, which is absolute, with O_PATH.
func (r inRoot) open(name string, flags uint64) (*os.File, error) {
	return r.openAs(name, unix.O_PATH|flags)
}

func (r inRoot) openAs(name string, flags uint64) (*os.File, error) {
	root, err := os.Open(r.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{
		Flags: unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT,
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

// regular opens a file for reading; nothing else: what an image has under a name may be a pipe.
func (r inRoot) regular(name string, flags uint64) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := r.openAs(name, unix.O_RDONLY|unix.O_NONBLOCK|flags)
	if err != nil {
		return nil, st, err
	}
	err = unix.Fstat(int(f.Fd()), &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%s is not a file: %w", name, fs.ErrInvalid)
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// read gives the content of a file of limit bytes at most.
func (r inRoot) read(name string, limit int64) ([]byte, error) {
	f, st, err := r.regular(name, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st.Size > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", name, limit, fs.ErrInvalid)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// same reports whether name is a file as writeFile would make it.
func (r inRoot) same(name string, mode uint32, o owner, content []byte) bool {
	f, st, err := r.regular(name, unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer f.Close()
	if st.Mode&0o7777 != mode || st.Size != int64(len(content)) || isRoot() && (o != owner{int(st.Uid), int(st.Gid)}) {
		return false
	}
	have, err := io.ReadAll(f)
	return err == nil && bytes.Equal(have, content)
}

// isRoot is so on every node. A test that runs as somebody else cannot give files away.
func isRoot() bool { return os.Geteuid() == 0 }

// writeFile puts content at name, by rename: what is there, a file or a symlink, is replaced and never
// written through. Nobody but root can read it before its mode and owner are right. When allowed (unless nil)
// gives an error for the file's directory, nothing is written.
func (r inRoot) writeFile(name string, mode uint32, o owner, content []byte, allowed func(dir *os.File) error) error {
	dir, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if allowed != nil {
		if err := allowed(dir); err != nil {
			return err
		}
	}
	at, base := int(dir.Fd()), path.Base(name)
	tmp := ".muster-" + rand.Text()
	fd, err := unix.Openat(at, tmp, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(content)
	if err == nil && isRoot() {
		err = f.Chown(o.uid, o.gid)
	}
	if err == nil { // last: a change of the owner takes setuid away
		err = unix.Fchmod(fd, mode)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = unix.Renameat(at, tmp, at, base); err != nil {
			err = &os.PathError{Op: "rename", Path: name, Err: err}
		}
	}
	if err != nil {
		unix.Unlinkat(at, tmp, 0)
	}
	return err
}

// onNFS reports whether a directory is on a volume.
func onNFS(dir *os.File) (bool, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(dir.Fd()), &st)
	return st.Type == unix.NFS_SUPER_MAGIC, err
}

// symlink makes name lead to target, and replaces what is there.
func (r inRoot) symlink(target, name string) error {
	dir, err := r.mkdirAll(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	at, tmp := int(dir.Fd()), ".muster-"+rand.Text()
	if err = unix.Symlinkat(target, at, tmp); err == nil {
		if err = unix.Renameat(at, tmp, at, path.Base(name)); err != nil {
			unix.Unlinkat(at, tmp, 0)
		}
	}
	if err != nil {
		return &os.PathError{Op: "symlink", Path: name, Err: err}
	}
	return nil
}

// handle gives a path that leads to the open file whatever happens to its name: for mount(2).
func handle(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// cleanPath reports whether p is absolute, clean, and more than "/".
func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && !strings.ContainsRune(p, 0)
}
