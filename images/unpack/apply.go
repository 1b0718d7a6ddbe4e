package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say how an archive is applied.
type Options struct {
	// Whiteouts heeds the names by which the layer of a container image removes what lies under it; without,
	// they are names like others.
	Whiteouts bool
	// Limits bound what it may cost; the zero value has sound ones.
	Limits Limits
	// Log gets a line for what could not be kept; nil: nobody reads it.
	Log io.Writer
}

// Stats tell what an archive held.
type Stats struct {
	// Entries is the number of its entries, Bytes the sum of its files' sizes.
	Entries, Bytes int64
}

// Apply reads a tar archive, compressed or not, to its end and puts what it holds into the root. On an error
// what was put there stays: whoever made the directory removes it. The error wraps fs.ErrInvalid where the
// archive is at fault, and the reader's own error where that failed.
func (r *Root) Apply(ctx context.Context, from io.Reader, o Options) (Stats, error) {
	a := &archive{Root: r, opts: o, limits: o.Limits.complete(), ctx: ctx, buf: make([]byte, 1<<20), times: map[string]Meta{}}
	a.space.Reserve = a.limits.Reserve
	r.made = nil
	if o.Whiteouts {
		r.made = map[dirent]struct{}{}
	}
	packed := &meter{ctx: ctx, r: from}
	z, err := Decompress(packed)
	if err != nil {
		return a.stats, fmt.Errorf("unpack: %w", err)
	}
	defer z.Close()
	plain := &guard{r: z, packed: packed, limits: a.limits}
	if err := a.entries(tar.NewReader(plain)); err != nil {
		return a.stats, fmt.Errorf("unpack: %w", err)
	}
	// To the end: only there a checksum of the stream is, and only then has its reader seen it whole.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return a.stats, fmt.Errorf("unpack: %w", broken(err))
	}
	if err := a.setTimes(); err != nil {
		return a.stats, fmt.Errorf("unpack: %w", err)
	}
	return a.stats, nil
}

// archive is one archive under way.
type archive struct {
	*Root
	ctx    context.Context // of Apply
	opts   Options
	limits Limits
	space  Space
	stats  Stats
	buf    []byte
	times  map[string]Meta // of directories, for the end
}

// entries puts all of them into the root.
func (a *archive) entries(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // clean decides about paths
			return fmt.Errorf("after %d entries: %w", a.stats.Entries, broken(err))
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := a.entry(h, t); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// broken makes the errors of an archive that is cut off or none at all fs.ErrInvalid, and readable.
func broken(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the archive is cut off: %w", fs.ErrInvalid)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("not a tar archive, or a damaged one: %w", fs.ErrInvalid)
	}
	return err
}

// entry puts one of them there.
func (a *archive) entry(h *tar.Header, content io.Reader) error {
	a.stats.Entries++
	a.stats.Bytes += h.Size
	if a.stats.Entries > a.limits.Entries {
		return fmt.Errorf("the archive has more than %d entries: %w", a.limits.Entries, fs.ErrInvalid)
	}
	if a.stats.Bytes > a.limits.Bytes || a.stats.Bytes < 0 {
		return fmt.Errorf("the archive's files have more than %d bytes: %w", a.limits.Bytes, fs.ErrInvalid)
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if a.opts.Whiteouts {
		if is, err := a.whiteout(name); is || err != nil {
			return err
		}
	}
	meta, err := metaOf(h)
	if err != nil {
		return err
	}
	a.tellACLs(name, h)
	if name == "." {
		return a.rootEntry(h, meta)
	}
	dir, err := a.parent(name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	kind, err := a.make(dir, base, h, meta, content)
	if err != nil {
		return err
	}
	if err := a.note(dir, base); err != nil || h.Typeflag == tar.TypeLink {
		return err // a hard link is the other file's
	}
	if kind == unix.S_IFDIR {
		a.times[name] = meta
	} else {
		delete(a.times, name)
	}
	return meta.Set(dir, base, kind, a.lost(name))
}

// rootEntry is the entry of the root itself, which is a directory and stays one.
func (a *archive) rootEntry(h *tar.Header, meta Meta) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("the root is a directory: %w", fs.ErrInvalid)
	}
	if err := clearXattrs(a.fd, meta.Xattrs); err != nil {
		return err
	}
	a.times["."] = meta
	return meta.Set(a.fd, ".", unix.S_IFDIR, a.lost("."))
}

// lost logs an attribute that this machine cannot keep.
func (a *archive) lost(name string) func(string, error) {
	return func(xattr string, err error) {
		if a.opts.Log != nil {
			fmt.Fprintf(a.opts.Log, "W: muster: %q: %s is not kept: %v\n", name, xattr, err)
		}
	}
}

// tellACLs logs ACLs that say more than the mode and are there as text alone.
func (a *archive) tellACLs(name string, h *tar.Header) {
	for _, kind := range []string{"access", "default"} {
		text, has := h.PAXRecords[paxACL+kind]
		if _, kept := h.PAXRecords[paxXattr+"system.posix_acl_"+kind]; has && !kept && (kind == "default" || strings.Contains(text, "mask:")) {
			a.lost(name)(paxACL+kind, errACL)
		}
	}
}

var errACL = errors.New("make the archive with tar --xattrs --xattrs-include='*'")

// setTimes sets the times of the directories, which every entry in them changed.
func (a *archive) setTimes() error {
	for name, meta := range a.times {
		fd, err := a.openDir(path.Dir(name))
		if missing(err) {
			continue // replaced or hidden since
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		err = meta.SetTime(fd, path.Base(name))
		_ = unix.Close(fd)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}
