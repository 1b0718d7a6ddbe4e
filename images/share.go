package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
	digest  string // that its manifest must have
	reader  *manifestReader
	merkle  *merkleCheck // of the reader's lines so far
	wrong   error        // what is wrong with them
	next    *entry       // the reader's last; nil behind the end
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
	img, err := c.Find(s.ref)
	if err != nil || c.Key != nil && !img.Signed {
		return s // nobody knows what its manifest must be
	}
	s.digest, s.merkle = img.Digest, newMerkleCheck()
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

// advance reads the next line of the newest version's manifest. Behind a damaged one nothing is shared.
func (s *sharer) advance() {
	s.next = nil
	if s.reader == nil || s.wrong != nil {
		return
	}
	e, err := s.reader.next()
	if err == nil {
		err = s.merkle.add(&e, s.reader.line)
	}
	switch {
	case err == nil:
		s.next = &e
	case !errors.Is(err, io.EOF):
		s.wrong = err
	}
}

// believed says whether the newest version's manifest, of which files have got their digests, was the one that
// was published. It reads the rest of it.
func (s *sharer) believed() bool {
	if s.reader == nil {
		return true
	}
	for s.next != nil {
		s.advance()
	}
	if s.wrong == nil {
		var digest string
		if digest, s.wrong = s.merkle.digest(); s.wrong == nil && digest != s.digest {
			s.wrong = fmt.Errorf("has the digest %s, want %s", digest, s.digest)
		}
	}
	if s.wrong == nil {
		return true
	}
	s.report(candidate{ref: s.ref, path: ManifestFile}, s.wrong)
	return false
}

// said gives the newest version's entry for path; nil when it has none. The paths come in a manifest's order.
func (s *sharer) said(path string) *entry {
	for s.next != nil && comparePaths(s.next.path, path) < 0 {
		s.advance()
	}
	if s.next != nil && s.next.path == path {
		return s.next
	}
	return nil
}

// offer shares the file at hand with that of the same path in the newest version, where that is the same. It
// does so before the file is digested: bytes that are equal to those of a file whose digest is known need not
// be digested again. Should that file have decayed, they are not equal; should the manifest have, shareTree
// digests everything after all.
func (s *sharer) offer(w *scanWorker, e, said *entry) bool {
	e.own = e.size > 0
	if !e.own || s.newest == nil || said == nil || said.size != e.size || !sameAttributes(e, said) {
		return false
	}
	if err := s.share(w, e, candidate{s.newest, s.ref, e.path}); err != nil {
		return false
	}
	e.sum, e.own = said.sum, false
	return true
}

// digested is called with a file that offer did not share.
func (s *sharer) digested(w *scanWorker, e, said *entry) {
	if w.differs && e.sum == said.sum {
		s.report(candidate{s.newest, s.ref, e.path}, errDiffers)
	}
}

// candidate is a published file that may be the same as a new one.
type candidate struct {
	dir  *os.File // of its version
	ref  Ref
	path string
}

// share replaces the file at hand, e, by the candidate, which has its size and attributes by its manifest. When
// it fails the file stays as it is; w.differs says that the bytes were others.
func (s *sharer) share(w *scanWorker, e *entry, c candidate) error {
	w.differs = false
	how := s.how.Load()
	if how == shareNothing || how == shareLinks && mustBeOwn(e.path) {
		return errNotShared
	}
	old, err := openCandidate(c)
	if err != nil {
		return err // removed meanwhile
	}
	defer unix.Close(old)
	var was unix.Stat_t
	if err := unix.Fstat(old, &was); err != nil {
		return err
	}
	if was.Mtim.Sec != w.st.Mtim.Sec {
		return errNotShared // the manifest does not tell times, but a node sees them
	}
	if err := w.compare(e, old, &was); err != nil {
		if w.differs = errors.Is(err, errDiffers); !w.differs && !errors.Is(err, errNotShared) {
			s.report(c, err)
		}
		return err
	}
	if was.Dev == w.st.Dev && was.Ino == w.st.Ino {
		return nil
	}
	return s.replace(w, e, old)
}

// errNotShared says that a file stays as it is, for a reason that is nobody's concern.
var errNotShared = errors.New("not shared")

// mustBeOwn says whether a file must have one name only.
func mustBeOwn(path string) bool {
	return slices.ContainsFunc(ownNames, func(dir string) bool { return within(path, dir) })
}

// report notes a published file that is not what its manifest says.
func (s *sharer) report(c candidate, what error) {
	s.catalog.logger().Warn("a published file is damaged and not shared", "image", c.ref.String(), "path", c.path, "err", what)
	s.damaged.Lock()
	defer s.damaged.Unlock()
	s.damaged.said = append(s.damaged.said, fmt.Sprintf("%s is damaged (%q %v): muster image verify %s", c.ref, c.path, what, c.ref))
}

// replace puts the old file in the place of the one at hand.
func (s *sharer) replace(w *scanWorker, e *entry, old int) error {
	own := filepath.Join(s.partial, e.path)
	// In the same directory: a rename across directories takes a lock of the whole file system.
	tmp := filepath.Join(filepath.Dir(own), fmt.Sprintf(".muster-share-%d", s.temps.Add(1)))
	if how := s.how.Load(); how == shareUnknown || how == shareClones {
		err := clone(tmp, old, e, &w.st)
		if err == nil {
			s.how.CompareAndSwap(shareUnknown, shareClones)
			return renameOver(tmp, own)
		}
		if how == shareClones || !cannotClone(err) {
			return err
		}
		s.how.CompareAndSwap(shareUnknown, shareLinks)
	}
	if mustBeOwn(e.path) {
		return errNotShared
	}
	if err := linkFile(old, tmp); err != nil {
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
			s.how.Store(shareNothing)
		}
		return err
	}
	crashPoint("linked")
	return renameOver(tmp, own)
}

// shareTree digests the partial directory and shares what it can on the way. The entries come with all
// digests.
func (s *sharer) shareTree(ctx context.Context) (entries []entry, digest string, err error) {
	var dirs []dirTimes
	scan := func(dirs *[]dirTimes) error {
		entries = entries[:0]
		sc := scanner{dir: s.partial, sharer: s, dirs: dirs}
		return sc.run(ctx, func(e *entry) error {
			entries = append(entries, *e)
			return nil
		})
	}
	err = scan(&dirs)
	if err == nil && !s.believed() {
		// Every file is digested after all. The reader is behind its end, and has nothing to say any more.
		err = scan(nil)
	}
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
