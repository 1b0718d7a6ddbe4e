package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long Open waits for another process to let go of the file: long enough for a restart in
// which the old process is just leaving, short enough for a person who started a second one.
const lockWait = time.Second

// The file's own bucket; every other bucket holds records.
var (
	fileBucket  = []byte("file")
	revisionKey = []byte("revision")
)

// file is the Backend of one server: a bbolt file.
type file struct {
	db   *bbolt.DB
	path string
}

// openFile opens or creates the file at path, whose directory must exist.
func openFile(path string) (_ *file, err error) {
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
	return &file{db, path}, nil
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
	err = f.db.View(func(tx *bbolt.Tx) error {
		revision = fileRevision(tx)
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if bytes.Equal(name, fileBucket) {
				return nil
			}
			return b.ForEach(func(k, v []byte) error {
				return fn(Record{string(name), bytes.Clone(k), bytes.Clone(v)})
			})
		})
	})
	return revision, err
}

// Commit implements Backend.
func (f *file) Commit(revision uint64, batch []Record) (err error) {
	defer damaged(f.path, &err)()
	err = f.db.Update(func(tx *bbolt.Tx) error {
		// A commit that failed while its last page was being synced may be in the file or not. Where it
		// is, the revision tells, and nothing more is written until a restart has read the file anew.
		if have := fileRevision(tx); have != revision-1 {
			return fmt.Errorf("%w: it is at revision %d, not %d", errForeign, have, revision-1)
		}
		for _, r := range batch {
			if err := apply(tx, r); err != nil {
				return err
			}
		}
		b, err := tx.CreateBucketIfNotExists(fileBucket)
		if err != nil {
			return err
		}
		return b.Put(revisionKey, binary.BigEndian.AppendUint64(nil, revision))
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// Close implements Backend.
func (f *file) Close() error { return f.db.Close() }

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

func fileRevision(tx *bbolt.Tx) uint64 {
	b := tx.Bucket(fileBucket)
	if b == nil {
		return 0
	}
	v := b.Get(revisionKey)
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
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
