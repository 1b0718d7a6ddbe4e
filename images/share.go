package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// share.go and its neighbours store files of a new version once that published versions have already: as
// reflinks where the file system can (XFS, btrfs), else as hard links.
//
// A file is replaced only by one whose bytes were compared, so that a disk's decay never spreads into a new
// version; a candidate that vanishes meanwhile, or has all the links that it can have, costs nothing but the
// space. Nobody is locked out: a published tree never changes, and removing a version takes names, not files.
//
// What clients see: link(2) and unlink(2) change the ctime of a file. NFS clients that run an older version
// ask again about files that they have cached, and may fetch them once more; file handles stay good, since
// the inode stays. Reflinks do not even do that.

// ownNames are the directories whose files are never hard links: programs refuse their files when they have
// more names than one (cron: "NUMBER OF HARD LINKS > 1"). There is little in them.
var ownNames = []string{TreeDir + "/etc", TreeDir + "/home", TreeDir + "/root", TreeDir + "/srv", TreeDir + "/var/spool"}

// How a file system stores a file once.
const (
	shareUnknown = iota // nobody tried yet
	shareClones         // FICLONE
	shareLinks          // link(2)
	shareNothing        // neither
)

// sharer replaces files of a partial directory by those of published versions.
type sharer struct {
	catalog *Catalog
	name    string
	partial string
	how     atomic.Int32
	temps   atomic.Int64 // numbers temporary names

	// The newest version of the same image, whose manifest goes by while the new tree is read.
	newest  *os.File // its directory; nil: there is none
	ref     Ref
	reader  *manifestReader
	line    string // the reader's, of path
	path    string
	damaged struct {
		sync.Mutex // for workers
		said       []string
	}
}

// newSharer prepares for a new version of the image name. The caller closes it.
func newSharer(c *Catalog, name, partial string) *sharer {
	s := &sharer{catalog: c, name: name, partial: partial}
	versions, err := c.versions(name)
	if err != nil || len(versions) == 0 {
		return s
	}
	s.ref = Ref{name, versions[len(versions)-1]}
	if s.reader, err = openManifest(filepath.Join(c.dir(s.ref), ManifestFile)); err != nil {
		s.reader = nil
		return s // an old one, or a damaged one: Verify's to tell
	}
	if s.newest, err = os.Open(c.dir(s.ref)); err != nil {
		s.newest = nil
	}
	s.advance()
	return s
}

func (s *sharer) close() {
	if s.reader != nil {
		s.reader.close()
	}
	if s.newest != nil {
		s.newest.Close()
	}
}

// advance reads the next line of the newest version's manifest.
func (s *sharer) advance() {
	s.path = ""
	if s.reader == nil || !s.reader.scan() {
		return
	}
	e, err := parseEntry(s.reader.line)
	if err == nil {
		s.path, s.line = e.path, s.reader.line
	}
}

// said gives the newest version's line for path. The paths come in a manifest's order.
func (s *sharer) said(path string) string {
	for s.path != "" && comparePaths(s.path, path) < 0 {
		s.advance()
	}
	if s.path == path {
		return s.line
	}
	return ""
}

// offer shares a file with that of the same path in the newest version, where that is the same.
func (s *sharer) offer(w *scanWorker, e *entry, f *os.File, said string) {
	e.own = e.size > 0
	if !e.own || s.newest == nil || said == "" {
		return
	}
	if w.line = e.appendTo(w.line[:0]); string(w.line) != said {
		return
	}
	e.own = !s.share(w, e, f, candidate{s.newest, s.ref, e.path})
}

// candidate is a published file that may be the same as a new one.
type candidate struct {
	dir  *os.File // of its version
	ref  Ref
	path string
}

// share replaces the file e, which is open, by the candidate, whose manifest says that it is the same. It
// reports false when the file stays as it is, for whatever reason.
func (s *sharer) share(w *scanWorker, e *entry, f *os.File, c candidate) bool {
	how := s.how.Load()
	if how == shareNothing || how == shareLinks && mustBeOwn(e.path) {
		return false
	}
	old, err := openCandidate(c)
	if err != nil {
		return false // removed meanwhile
	}
	defer old.Close()
	var was, st unix.Stat_t
	if unix.Fstat(int(old.Fd()), &was) != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	if was.Dev == st.Dev && was.Ino == st.Ino {
		return true
	}
	if was.Mtim.Sec != st.Mtim.Sec {
		return false // the manifest does not tell times, but a node sees them
	}
	if what := w.compare(e, f, old, &was); what != "" {
		s.report(c, what)
		return false
	}
	return s.replace(e, &st, old)
}

// mustBeOwn says whether a file must have one name only.
func mustBeOwn(path string) bool {
	return slices.ContainsFunc(ownNames, func(dir string) bool { return within(path, dir) })
}

// report notes a published file that is not what its manifest says.
func (s *sharer) report(c candidate, what string) {
	s.catalog.logger().Warn("a published file is damaged and not shared", "image", c.ref.String(), "path", c.path, "err", what)
	s.damaged.Lock()
	defer s.damaged.Unlock()
	s.damaged.said = append(s.damaged.said, fmt.Sprintf("%s is damaged (%q %s): muster image verify %s", c.ref, c.path, what, c.ref))
}

// replace puts the old file in the place of e.
func (s *sharer) replace(e *entry, st *unix.Stat_t, old *os.File) bool {
	own := filepath.Join(s.partial, e.path)
	// In the same directory: a rename across directories takes a lock of the whole file system.
	tmp := filepath.Join(filepath.Dir(own), fmt.Sprintf(".muster-share-%d", s.temps.Add(1)))
	if how := s.how.Load(); how == shareUnknown || how == shareClones {
		err := clone(tmp, old, e, st)
		if err == nil {
			s.how.CompareAndSwap(shareUnknown, shareClones)
			return renameOver(tmp, own)
		}
		if how == shareClones || !cannotClone(err) {
			return false
		}
		s.how.CompareAndSwap(shareUnknown, shareLinks)
	}
	if mustBeOwn(e.path) {
		return false
	}
	err := linkFile(old, tmp)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		s.how.Store(shareNothing)
	}
	return err == nil && renameOver(tmp, own)
}

// shareTree digests the partial directory and shares what it can on the way. The entries come with all
// digests.
func (s *sharer) shareTree(ctx context.Context) (entries []entry, digest string, err error) {
	var dirs []dirTimes
	sc := scanner{dir: s.partial, before: s.said, after: s.offer, dirs: &dirs}
	err = sc.run(ctx, func(e *entry) error {
		entries = append(entries, *e)
		return nil
	})
	if err == nil {
		err = s.searchOthers(ctx, entries)
	}
	if err != nil {
		return nil, "", err
	}
	for _, part := range covered {
		if !slices.ContainsFunc(entries, func(e entry) bool { return e.path == part }) {
			return nil, "", fmt.Errorf("images: there is no %s: %w", filepath.Join(s.partial, part), os.ErrNotExist)
		}
	}
	return entries, sumTree(entries), restoreTimes(s.partial, dirs)
}

// restoreTimes gives directories the times back that they had before files in them were replaced.
func restoreTimes(root string, dirs []dirTimes) error {
	for _, d := range dirs {
		path := filepath.Join(root, d.path)
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, d.mtime}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("images: times of %s: %w", path, err)
		}
	}
	return nil
}

func (c *Catalog) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// shareTemp says whether a name is one that replace made.
func shareTemp(name string) bool { return strings.HasPrefix(name, ".muster-share-") }
