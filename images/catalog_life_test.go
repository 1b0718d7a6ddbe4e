package images

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// reader is what a machine does that runs a version: it has files open, opens them again by their inode, as an
// NFS server does for its clients, and by their name, and reads them.
type reader struct {
	dir   string
	paths []string
	sums  map[string][32]byte
	open  map[string]*os.File
	inode map[string]uint64
}

func newReader(t *testing.T, img Image) *reader {
	t.Helper()
	r := &reader{dir: img.Dir, sums: map[string][32]byte{}, open: map[string]*os.File{}, inode: map[string]uint64{}}
	must(t, filepath.WalkDir(img.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		r.paths = append(r.paths, path)
		r.sums[path], r.open[path], r.inode[path] = sha256.Sum256(b), f, inodeOf(t, f)
		return err
	}))
	return r
}

func inodeOf(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	return st.Ino
}

func (r *reader) close() {
	for _, f := range r.open {
		f.Close()
	}
}

// round reads everything once.
func (r *reader) round(t *testing.T) {
	for _, path := range r.paths {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		for what, f := range map[string]*os.File{"opened again": f, "kept open": r.open[path]} {
			b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
			if err != nil || sha256.Sum256(b) != r.sums[path] {
				t.Errorf("%s, %s: other bytes, %v", path, what, err)
			}
		}
		if inodeOf(t, f) != r.inode[path] {
			t.Errorf("%s is another file now: handles of it are stale", path)
		}
		f.Close()
	}
}

// Machines that run a version read it in a loop, while newer ones are published and switched to, and older and
// newer ones with the same files are removed.
func TestReadersSeeNothingOfLifeAround(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	write := func(n int) func(string) {
		return func(tree string) {
			putFile(t, tree, "usr/lib/big", bigContent(1), 0o644)
			putFile(t, tree, "etc/crontab", "all", 0o644)
			for i := range 60 {
				putFile(t, tree, fmt.Sprintf("usr/lib/d%d/f%d", i%7, i), fmt.Sprint("all ", i), 0o644)
			}
			putFile(t, tree, "usr/lib/own", fmt.Sprint(n), 0o644)
		}
	}
	publishNext(t, c, "web", write(0)) // older, with the same files
	running := publishNext(t, c, "web", write(1))
	must(t, c.SetCurrent(running.Ref))
	r := newReader(t, running)
	defer r.close()
	var stop atomic.Bool
	var rounds atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() && !t.Failed() {
				r.round(t)
				rounds.Add(1)
			}
		})
	}
	inUse := func(ref Ref) string {
		if ref == running.Ref {
			return "the reader runs it"
		}
		return ""
	}
	for n := range 8 {
		img := publishNext(t, c, "web", write(2+n%3))
		must(t, c.SetCurrent(img.Ref))
		if n%2 == 1 {
			_, err := c.Rollback("web")
			must(t, err)
		}
		_, err := c.Prune(t.Context(), PruneOptions{Keep: 1, InUse: inUse})
		must(t, err)
		for at := rounds.Load(); rounds.Load() < at+2 && !t.Failed(); { // the readers saw it
			r.round(t)
		}
	}
	stop.Store(true)
	wg.Wait()
	if problems, err := c.Verify(t.Context(), running.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify(%s) = %v, %v", running.Ref, problems, err)
	}
	if _, err := c.Find(Ref{"web", 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the older version is there (%v): the test tests less than it should", err)
	}
}

// Two that publish one image at once: one does, the other is told; nothing is mixed.
func TestTwoPublishOneNameAtOnce(t *testing.T) {
	c := &Catalog{Dir: t.TempDir()}
	var published, refused atomic.Int64
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 10 {
				img, err := tryPublish(t, c, "web", func(tree string) {
					for i := range 30 {
						putFile(t, tree, fmt.Sprint("usr/lib/", i), fmt.Sprint(n), 0o644)
					}
				})
				switch {
				case err == nil:
					published.Add(1)
					must(t, c.SetCurrent(img.Ref))
				case errors.Is(err, fs.ErrExist):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := c.List()
	if err != nil || int64(len(all)) != published.Load() || published.Load()+refused.Load() != 40 {
		t.Errorf("%d published, %d refused, %d there, %v", published.Load(), refused.Load(), len(all), err)
	}
	for i, img := range all {
		if img.Ref.Version != i+1 {
			t.Errorf("version %d of %d is %s", i+1, len(all), img.Ref)
		}
		if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
			t.Errorf("Verify(%s) = %v, %v", img.Ref, problems, err)
		}
	}
}

// finish never writes over a version that is there, whoever made it.
func TestFinishReplacesNothing(t *testing.T) {
	c, img := published(t, nil)
	partial, err := c.newPartial("web")
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(partial, TreeDir), 0o755))
	for _, f := range []string{KernelFile, InitrdFile} {
		must(t, os.WriteFile(filepath.Join(partial, f), []byte("other"), 0o644))
	}
	if _, err := c.finish(t.Context(), partial, Image{Ref: img.Ref}, func(Stage, string) {}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("finish = %v, want ErrExist", err)
	}
	if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	// A partial directory that lacks a part is no version.
	must(t, os.Remove(filepath.Join(partial, InitrdFile)))
	if _, err := c.finish(t.Context(), partial, Image{Ref: Ref{Name: "web"}}, func(Stage, string) {}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("finish without initrd = %v, want ErrNotExist", err)
	}
}
