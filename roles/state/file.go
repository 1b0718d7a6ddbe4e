package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long Open waits for another process to let go of the file: long enough for a restart in
// which the old process is just leaving, short enough for a person who started a second one.
const lockWait = time.Second

// file is the Backend of one server: a bbolt file, and beside it the journal of the leases that it has not yet.
type file struct {
	db   *bbolt.DB
	path string
	size int // of a segment of the journal
	log  *slog.Logger

	// folding is held by who reads the journal, or moves what it has into bbolt. It is taken before a transaction.
	folding sync.Mutex

	// What follows is of Load, Commit and Close, which are called one at a time.
	revision uint64   // of the last commit
	journal  *journal // nil until the first lease is committed, and while there is no room for one
	retry    time.Time
	stop     chan struct{}  // closed to end the folder
	folders  sync.WaitGroup // it
	doubt    bool           // bbolt failed, and may have the commit nevertheless
	broken   bool           // the journal failed, and may have the commit nevertheless
}

// openFile opens or creates the file at path, whose directory must exist.
func openFile(path string, size int, log *slog.Logger) (_ *file, err error) {
	defer damaged(path, &err)()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	f := &file{db: db, path: path, size: size, log: log, stop: make(chan struct{})}
	if err := f.recover(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

// create makes an empty file, all of it or nothing: half of one, from a full disk or a power cut, would be
// taken for damage ever after.
func create(path string) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state: %w", err)
	}
	db, err := openBolt(part)
	if err != nil {
		_ = os.Remove(part)
		return err
	}
	// bbolt has synced the file; that the directory knows of it is up to us.
	if err := errors.Join(db.Close(), os.Rename(part, path), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func openBolt(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait,
		// The array type scans all free pages at every commit.
		FreelistType: bbolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("state: %s is in use by another process: is another muster running?", path)
	case errors.As(err, new(*fs.PathError)):
		return nil, fmt.Errorf("state: %w", err)
	case err != nil:
		return nil, damage(path, err)
	}
	return db, nil
}

// Load implements Backend.
func (f *file) Load(fn func(Record) error) (revision uint64, err error) {
	defer damaged(f.path, &err)()
	f.folding.Lock() // before View: bbolt waits for readers before it grows
	defer f.folding.Unlock()
	changes, err := f.waiting()
	if err != nil {
		return 0, err
	}
	err = f.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if bytes.Equal(name, fileBucket) {
				return nil
			}
			return overlay(b, string(name), changes[string(name)], fn)
		})
	})
	return f.revision, err
}

// Commit implements Backend.
func (f *file) Commit(revision uint64, batch []Record) (err error) {
	defer damaged(f.path, &err)()
	switch err := f.check(revision); {
	case err != nil:
		return fmt.Errorf("%s: %w", f.path, err)
	case isJournaled(batch) && f.journals():
		if f.append(revision, batch) == nil {
			f.revision = revision
			return nil
		}
	}
	if err := f.commit(revision, batch); err != nil {
		f.doubt = true
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.revision, f.broken = revision, false
	return nil
}

// check refuses a commit that does not follow the last one. One that failed while its last page was being synced may
// be in the file or not. Where it is, the revision tells, and nothing more is written until a restart has read the
// file anew.
func (f *file) check(revision uint64) error {
	if revision != f.revision+1 {
		return fmt.Errorf("%w: it is at revision %d, not %d", errForeign, f.revision, revision-1)
	}
	if f.broken {
		return fmt.Errorf("%w: the last lease may be in it or not", errForeign)
	}
	if !f.doubt {
		return nil
	}
	err := f.db.View(func(tx *bbolt.Tx) error {
		if m := readMark(tx); m.revision > f.revision {
			return fmt.Errorf("%w: it is at revision %d, not %d", errForeign, m.revision, f.revision)
		}
		return nil
	})
	f.doubt = err != nil
	return err
}

// commit writes a batch to bbolt. Before leases, it folds the journal: what is in there is older.
func (f *file) commit(revision uint64, batch []Record) error {
	var older []entry
	var folded uint64
	leases := f.journal != nil && slices.ContainsFunc(batch, func(r Record) bool { return slices.Contains(journaled[:], r.Bucket) })
	if leases {
		f.folding.Lock()
		defer f.folding.Unlock()
		var err error
		if older, err = f.journal.pending(); err != nil {
			return err
		}
		folded = f.journal.newest()
	}
	err := f.db.Update(func(tx *bbolt.Tx) error {
		m := readMark(tx)
		if err := m.fold(tx, older); err != nil {
			return err
		}
		for _, r := range batch {
			if err := apply(tx, r); err != nil {
				return err
			}
		}
		m.revision, m.folded = revision, max(m.folded, folded)
		return m.write(tx)
	})
	if err == nil && leases {
		f.journal.fold(folded)
	}
	return err
}

// Close implements Backend. It leaves an empty journal, so that a muster that knows none can go on with the file.
func (f *file) Close() error {
	var err error
	if f.journal != nil {
		close(f.stop)
		f.folders.Wait()
		if err = f.fold(f.journal); err != nil {
			err = fmt.Errorf("state: leases stay in the journal, for the next start: %w", err)
		}
		err = errors.Join(err, f.journal.close())
	}
	return errors.Join(err, f.db.Close())
}

func apply(tx *bbolt.Tx, r Record) error {
	if r.Value == nil {
		if b := tx.Bucket([]byte(r.Bucket)); b != nil {
			return b.Delete(r.Key)
		}
		return nil
	}
	b, err := tx.CreateBucketIfNotExists([]byte(r.Bucket))
	if err != nil {
		return err
	}
	return b.Put(r.Key, r.Value)
}

// damaged turns the panics of bbolt over a broken page, and the fault of reading behind the end of a
// truncated file, into an error. Defer the function that it returns.
func damaged(path string, err *error) func() {
	faults := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(faults)
		if r := recover(); r != nil {
			*err = damage(path, fmt.Errorf("%v", r))
		}
	}
}

func damage(path string, err error) error {
	return fmt.Errorf("state: %s is damaged or not a state file of Muster (%w): "+
		"restore it from a backup, or move it away to start with an empty rack", path, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
