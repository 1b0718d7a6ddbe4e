package images

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// scanner reads every path of a version's directory, files by several workers, and gives the entries in the
// order of a manifest. Directories come without their digest: sumTree knows it.
type scanner struct {
	dir string
	// before is called for each path in order, by one goroutine, and what it gives goes to after with the
	// path; nil for nothing.
	before func(path string) string
	// after is called by a worker when it has read a regular file; nil for nothing.
	after func(w *scanWorker, e *entry, f *os.File, said string)
	// dirs, when it is not nil, gets the directories as they were before any call of after.
	dirs *[]dirTimes
}

// dirTimes are a directory's times, which change when something in it is replaced.
type dirTimes struct {
	path         string
	atime, mtime unix.Timespec
}

const (
	// scanBatch is how many paths go to a worker at once: most files are small, and handing over each by
	// itself costs as much as reading it.
	scanBatch = 64
	// scanAhead bounds the batches under way, and with them the memory.
	scanAhead = 64
	// scanBuffer is what a worker reads at once. A file that fits is in memory as a whole for after.
	scanBuffer = 1 << 20
)

// batch is what goes to a worker and comes back from it.
type batch struct {
	paths, said []string
	entries     []entry
	err         error
	done        chan struct{}
}

// run calls fn for every entry, in order. The goroutines that it starts end before it returns.
func (s *scanner) run(ctx context.Context, fn func(*entry) error) error {
	g, ctx := errgroup.WithContext(ctx)
	work, inOrder := make(chan *batch), make(chan *batch, scanAhead)
	g.Go(func() error { // ends with the walk, or with ctx
		defer close(work)
		defer close(inOrder)
		w := walker{scanner: s, ctx: ctx, work: work, inOrder: inOrder}
		return w.walk()
	})
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error { // ends when work is closed
			w := &scanWorker{buf: make([]byte, scanBuffer)}
			for b := range work {
				b.err = s.read(ctx, w, b)
				close(b.done)
			}
			return nil
		})
	}
	g.Go(func() error { // ends when inOrder is closed, or with ctx
		for b := range inOrder {
			select {
			case <-b.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if b.err != nil {
				return b.err
			}
			for i := range b.entries {
				if err := fn(&b.entries[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return g.Wait()
}

// walker finds the paths and hands them out.
type walker struct {
	*scanner
	ctx           context.Context
	work, inOrder chan<- *batch
	next          *batch
}

// walk goes through what a manifest covers. What is not there at the top is passed over: who calls knows.
func (w *walker) walk() error {
	for _, name := range covered {
		info, err := os.Lstat(filepath.Join(w.dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err == nil {
			err = w.path(name, info.IsDir())
		}
		if err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	return w.hand()
}

func (w *walker) path(path string, isDir bool) error {
	if w.next == nil {
		w.next = &batch{done: make(chan struct{})}
	}
	b := w.next
	b.paths = append(b.paths, path)
	if w.before != nil {
		b.said = append(b.said, w.before(path))
	}
	if len(b.paths) == scanBatch {
		if err := w.hand(); err != nil {
			return err
		}
	}
	if !isDir {
		return nil
	}
	return w.directory(path)
}

// directory reads a directory as a whole before it hands out anything in it.
func (w *walker) directory(path string) error {
	full := filepath.Join(w.dir, path)
	if w.dirs != nil {
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: full, Err: err}
		}
		*w.dirs = append(*w.dirs, dirTimes{path, st.Atim, st.Mtim})
	}
	names, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := w.path(path+"/"+d.Name(), d.IsDir()); err != nil {
			return err
		}
	}
	return nil
}

// hand gives the batch to the workers.
func (w *walker) hand() error {
	b := w.next
	w.next = nil
	if b == nil {
		return nil
	}
	// First into the queue that has room: its reader waits for the worker.
	for _, to := range []chan<- *batch{w.inOrder, w.work} {
		select {
		case to <- b:
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	return nil
}

// scanWorker is what one worker has for itself.
type scanWorker struct {
	buf []byte
	// content is the last file's, when it fitted into buf as a whole.
	content []byte
	whole   bool
	st      unix.Stat_t // of the last path
	other   []byte      // for comparing; made when it is needed
	line    []byte
}

// read fills in a batch.
func (s *scanner) read(ctx context.Context, w *scanWorker, b *batch) error {
	b.entries = make([]entry, len(b.paths))
	for i, path := range b.paths {
		said := ""
		if s.before != nil {
			said = b.said[i]
		}
		if err := s.readPath(ctx, w, &b.entries[i], path, said); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	return nil
}

// readPath reads one path, never following a link.
func (s *scanner) readPath(ctx context.Context, w *scanWorker, e *entry, rel, said string) error {
	full := filepath.Join(s.dir, rel)
	if err := unix.Lstat(full, &w.st); err != nil {
		return &fs.PathError{Op: "lstat", Path: full, Err: err}
	}
	st := &w.st
	*e = entry{path: rel, mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.kind = 'f'
		return s.readFile(ctx, w, e, full, said)
	case unix.S_IFDIR:
		e.kind = 'd'
	case unix.S_IFLNK:
		e.kind = 'l'
		e.target, err = os.Readlink(full)
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
	if err == nil {
		e.xattrs, err = pathXattrs(full)
	}
	return err
}

func (s *scanner) readFile(ctx context.Context, w *scanWorker, e *entry, full, said string) error {
	f, err := openNoAtime(full)
	if err != nil {
		return err
	}
	defer f.Close()
	if e.xattrs, err = fileXattrs(f); err != nil {
		return err
	}
	if e.size, err = w.sum(ctx, f, &e.sum); err != nil {
		return err
	}
	if s.after != nil {
		s.after(w, e, f, said)
	}
	return nil
}

// sum reads f to its end.
func (w *scanWorker) sum(ctx context.Context, f *os.File, sum *[sha256.Size]byte) (int64, error) {
	n, err := io.ReadFull(f, w.buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		w.content, w.whole = w.buf[:n], true
		*sum = sha256.Sum256(w.content)
		return int64(n), nil
	}
	w.whole = false
	h := sha256.New()
	size := int64(0)
	for n > 0 && err == nil {
		h.Write(w.buf[:n])
		size += int64(n)
		if err = ctx.Err(); err == nil {
			n, err = f.Read(w.buf)
		}
	}
	if err != nil && err != io.EOF {
		return 0, err
	}
	h.Sum(sum[:0])
	return size, nil
}

// openNoAtime opens a regular file for reading; where that is allowed (to owner and root), its access time
// stays, because writing 20,000 of them back costs more than reading the files.
func openNoAtime(path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(path, flags|unix.O_NOATIME, 0)
	if os.IsPermission(err) {
		return os.OpenFile(path, flags, 0)
	}
	return f, err
}
