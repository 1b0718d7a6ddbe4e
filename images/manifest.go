package images

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// entry is one path of an image with everything that must not change, except times: they have no meaning
// for a root file system, and copies of an image differ in them.
type entry struct {
	path string // relative to the version's directory, raw bytes
	// kind is f, d, l (symbolic link), c, b (devices), p (FIFO) or s (socket).
	kind     byte
	mode     uint32 // permission bits with setuid, setgid and sticky
	uid, gid uint32
	size     int64  // of a file
	major    uint32 // of a device
	minor    uint32
	target   string // of a link
	sum      string // of a file: sha256 in hex
	xattrs   []xattr
}

// xattr is one extended attribute; file capabilities and ACLs are such.
type xattr struct{ name, value string }

// String is the entry's line in a manifest:
//
//	kind mode uid:gid detail "path" ["name"="value"…]
//
// Detail is size and sha256 of a file, the quoted target of a link, major:minor of a device, or "-".
// Quoting is Go's, with ASCII only: names may hold newlines and bytes that are no UTF-8.
func (e entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%c %04o %d:%d ", e.kind, e.mode, e.uid, e.gid)
	switch e.kind {
	case 'f':
		fmt.Fprintf(&b, "%d %s", e.size, e.sum)
	case 'l':
		b.WriteString(strconv.QuoteToASCII(e.target))
	case 'c', 'b':
		fmt.Fprintf(&b, "%d:%d", e.major, e.minor)
	default:
		b.WriteByte('-')
	}
	b.WriteByte(' ')
	b.WriteString(strconv.QuoteToASCII(e.path))
	for _, x := range e.xattrs {
		fmt.Fprintf(&b, " %s=%s", strconv.QuoteToASCII(x.name), strconv.QuoteToASCII(x.value))
	}
	return b.String()
}

// covered are the parts of a version's directory that its manifest covers: not itself, and not image.json,
// which holds its digest.
var covered = []string{InitrdFile, TreeDir, KernelFile}

// scan calls fn for every path of a version's directory, in the order of a manifest (a directory before
// what is in it, names by bytes).
func scan(ctx context.Context, dir string, fn func(entry) error) error {
	for _, name := range covered {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, _ fs.DirEntry, err error) error {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			e, err := newEntry(path, rel)
			if err != nil {
				return err
			}
			return fn(e)
		})
		if err != nil {
			return fmt.Errorf("images: scan %s: %w", filepath.Join(dir, name), err)
		}
	}
	return nil
}

// newEntry reads one path, never following a link.
func newEntry(path, rel string) (entry, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return entry{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	e := entry{path: rel, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.kind = 'f'
		e.size, e.sum, err = sumFile(path)
	case unix.S_IFDIR:
		e.kind = 'd'
	case unix.S_IFLNK:
		e.kind = 'l'
		e.target, err = os.Readlink(path)
	case unix.S_IFCHR, unix.S_IFBLK:
		e.kind = 'c'
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			e.kind = 'b'
		}
		e.major, e.minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	case unix.S_IFIFO:
		e.kind = 'p'
	default:
		e.kind = 's'
	}
	if err != nil {
		return entry{}, err
	}
	e.xattrs, err = readXattrs(path)
	return e, err
}

func sumFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// readXattrs gives the attributes by name. A file system without them has none.
func readXattrs(path string) ([]xattr, error) {
	names := make([]byte, 0)
	n, err := unix.Llistxattr(path, nil)
	for err == nil && n > 0 {
		names = make([]byte, n)
		if n, err = unix.Llistxattr(path, names); err == nil || !errors.Is(err, unix.ERANGE) {
			break
		}
		n, err = unix.Llistxattr(path, nil)
	}
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var all []xattr
	for _, name := range strings.Split(string(names[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10) // the kernel's limit, XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		all = append(all, xattr{name, string(value[:n])})
	}
	slices.SortFunc(all, func(a, b xattr) int { return cmp.Compare(a.name, b.name) })
	return all, nil
}

// manifestTotals sums up a manifest for an Image.
type manifestTotals struct {
	digest string // "sha256:…" over the file
	files  int    // paths in the tree
	size   int64  // of the tree's files
}

// writeManifest scans dir and writes its manifest, flushed.
func writeManifest(ctx context.Context, dir string) (manifestTotals, error) {
	var t manifestTotals
	f, err := os.Create(filepath.Join(dir, ManifestFile))
	if err != nil {
		return t, fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, h))
	err = scan(ctx, dir, func(e entry) error {
		if inTree(e.path) {
			t.files++
			t.size += e.size
		}
		_, err := fmt.Fprintln(w, e)
		return err
	})
	if err != nil {
		return t, err
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		return t, fmt.Errorf("images: write manifest: %w", err)
	}
	t.digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return t, nil
}

func inTree(path string) bool { return strings.HasPrefix(path, TreeDir+"/") }
