package images

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// fileXattrs gives the extended attributes of an open file by name. A file system without them has none.
func fileXattrs(fd int, path string) ([]xattr, error) {
	return readXattrs(path,
		func(to []byte) (int, error) { return unix.Flistxattr(fd, to) },
		func(name string, to []byte) (int, error) { return unix.Fgetxattr(fd, name, to) })
}

// pathXattrs gives those of a path, of a link itself and not of what it points to.
func pathXattrs(path string) ([]xattr, error) {
	return readXattrs(path,
		func(to []byte) (int, error) { return unix.Llistxattr(path, to) },
		func(name string, to []byte) (int, error) { return unix.Lgetxattr(path, name, to) })
}

func readXattrs(path string, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]xattr, error) {
	names, err := grow(list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var all []xattr
	for name := range strings.SplitSeq(string(names), "\x00") {
		if name == "" {
			continue
		}
		value, err := grow(func(to []byte) (int, error) { return get(name, to) })
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		all = append(all, xattr{name, string(value)})
	}
	slices.SortFunc(all, func(a, b xattr) int { return cmp.Compare(a.name, b.name) })
	return all, nil
}

// grow asks for the size, then for the bytes, again while they became more meanwhile.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = read(b)
		if !errors.Is(err, unix.ERANGE) {
			return b[:max(n, 0)], err
		}
	}
}
