package state

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// foldEvery is how long leases stay in the journal alone: many of them share the pages of bbolt then, and a start
	// after a crash has little to read.
	foldEvery = 10 * time.Second
	// foldChunk is how many bytes of changes bbolt takes at once, some thousand leases: commits of the rack wait for
	// them, a few milliseconds.
	foldChunk = 32 << 10
)

// folder folds the journal now and then, until stop is closed.
func (f *file) folder(j *journal, stop <-chan struct{}) {
	tick := time.NewTicker(foldEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		case <-j.full:
		}
		err := f.fold(j)
		if err != nil && !failed {
			f.log.Error("leases stay in the journal, because bbolt cannot take them; nothing is lost", "path", f.path, "err", err)
		}
		failed = err != nil
	}
}

// fold moves all entries of the journal into bbolt.
func (f *file) fold(j *journal) (err error) {
	defer damaged(f.path, &err)()
	f.folding.Lock()
	defer f.folding.Unlock()
	all, err := j.pending()
	for len(all) > 0 && err == nil {
		n, size := 0, 0
		for n < len(all) && size < foldChunk {
			size += len(all[n].changes)
			n++
		}
		err = f.db.Update(func(tx *bbolt.Tx) error {
			m := readMark(tx)
			if err := m.fold(tx, all[:n]); err != nil {
				return err
			}
			return m.write(tx)
		})
		if err == nil {
			j.fold(all[n-1].sequence)
			all = all[n:]
		}
	}
	return err
}

// fold applies entries in their order, and notes that.
func (m *mark) fold(tx *bbolt.Tx, all []entry) error {
	records, err := lastRecords(all)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := apply(tx, r); err != nil {
			return err
		}
	}
	for _, e := range all {
		m.folded, m.revision = e.sequence, max(m.revision, e.revision)
	}
	return nil
}

// lastRecords gives what entries have changed in the end, in the order of a backend, which a B+tree takes best.
func lastRecords(all []entry) ([]Record, error) {
	var out []Record
	for _, e := range all {
		records, err := e.records()
		if err != nil {
			return nil, err
		}
		out = append(out, records...)
	}
	slices.SortStableFunc(out, compareRecords)
	last := out[:0]
	for i, r := range out {
		if i+1 == len(out) || compareRecords(r, out[i+1]) != 0 {
			last = append(last, r)
		}
	}
	return last, nil
}

// overlay calls fn for the records of a bucket as they are with changes, which are in the order of keys.
func overlay(b *bbolt.Bucket, name string, changes []Record, fn func(Record) error) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil || len(changes) > 0; {
		r, order := Record{name, k, v}, -1
		if len(changes) > 0 {
			order = 1
			if k != nil {
				order = bytes.Compare(k, changes[0].Key)
			}
		}
		if order >= 0 {
			r, changes = changes[0], changes[1:]
		}
		if order <= 0 {
			k, v = c.Next()
		}
		if r.Value == nil {
			continue
		}
		if err := fn(Record{name, bytes.Clone(r.Key), bytes.Clone(r.Value)}); err != nil {
			return err
		}
	}
	return nil
}

// journalDamage is the error for a journal that cannot be read to its end.
func journalDamage(path string, err error) error {
	return fmt.Errorf("state: the lease journal of %s cannot be used (%w): restore %[1]s together with its files %[1]s.leases.* from a backup, "+
		"or move those away to start without the leases of the last seconds", path, err)
}
