package images

import (
	"context"
	"fmt"
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
	// sharer is asked about each file before it is digested; nil for a look only.
	sharer *sharer
	// dirs, when it is not nil, gets the directories as they were before the sharer changed anything in them.
	dirs *[]dirTimes
}

// dirTimes is a directory's time, which changes when something in it is replaced.
type dirTimes struct {
	path  string
	mtime unix.Timespec
}

const (
	// scanBatch is how many paths go to a worker at once: most files are small, and handing over each by
	// itself costs as much as reading it.
	scanBatch = 64
	// scanAhead bounds the batches under way, and with them the memory.
	scanAhead = 64
	// scanWorkers bounds the workers: a disk has no use for more.
	scanWorkers = 8
)

func workers() int { return min(max(2, runtime.GOMAXPROCS(0)), scanWorkers) }

// batch is what goes to a worker and comes back from it.
type batch struct {
	entries []entry // with path and kind
	said    []*entry
	err     error
	done    chan struct{}
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
	for range workers() {
		g.Go(func() error { // ends when work is closed
			w := newScanWorker(ctx, s)
			for b := range work {
				b.err = w.batch(b)
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
			err = w.path(name, info.Mode().Type())
		}
		if err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	return w.hand()
}

func (w *walker) path(path string, kind fs.FileMode) error {
	if w.next == nil {
		w.next = &batch{done: make(chan struct{}), entries: make([]entry, 0, scanBatch)}
	}
	b := w.next
	b.entries = append(b.entries, entry{path: path, kind: kindOf(kind)})
	if w.sharer != nil {
		b.said = append(b.said, w.sharer.said(path))
	}
	if len(b.entries) == scanBatch {
		if err := w.hand(); err != nil {
			return err
		}
	}
	if kind.IsDir() {
		return w.directory(path)
	}
	return nil
}

func kindOf(mode fs.FileMode) byte {
	switch mode {
	case 0:
		return 'f'
	case fs.ModeDir:
		return 'd'
	case fs.ModeSymlink:
		return 'l'
	case fs.ModeDevice | fs.ModeCharDevice:
		return 'c'
	case fs.ModeDevice:
		return 'b'
	case fs.ModeNamedPipe:
		return 'p'
	}
	return 's'
}

// directory reads a directory as a whole before it hands out anything in it.
func (w *walker) directory(path string) error {
	full := filepath.Join(w.dir, path)
	if w.dirs != nil {
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			return &fs.PathError{Op: "lstat", Path: full, Err: err}
		}
		*w.dirs = append(*w.dirs, dirTimes{path, st.Mtim})
	}
	names, err := os.ReadDir(full)
	if err != nil {
		return err
	}
	for _, d := range names {
		if err := w.path(path+"/"+d.Name(), d.Type()); err != nil {
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
