package state

import (
	"errors"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"
)

// journalRetry is how long the file does without a journal when there was no room for one.
const journalRetry = 10 * time.Second

// recover reads at the start what there is beside the records.
func (f *file) recover() error {
	var m mark
	if err := f.db.View(func(tx *bbolt.Tx) error { m = readMark(tx); return nil }); err != nil {
		return err
	}
	f.revision = m.revision
	switch {
	case m.journal == 0:
		return nil
	case m.stale:
		f.forsake(m)
		return nil
	}
	missing := f.missing()
	if missing > 0 {
		f.log.Warn("the lease journal is missing beside the file, or cut short: the leases of the last seconds are lost, unless muster had been stopped", "path", f.path)
	}
	if missing == segments {
		return nil // it is made with the next lease
	}
	j, err := openJournal(f.path, m.journal, m.folded, f.size, makeSegment)
	if err != nil {
		return journalDamage(f.path, err)
	}
	pending, err := j.pending()
	if err != nil {
		return errors.Join(journalDamage(f.path, err), j.close())
	}
	if len(pending) > 0 {
		f.revision = max(f.revision, pending[len(pending)-1].revision)
	}
	f.use(j)
	return nil
}

// missing counts the segments that are not there, or not whole.
func (f *file) missing() (n int) {
	for i := range segments {
		s, err := openSegment(segmentPath(f.path, i), f.size)
		if errors.Is(err, fs.ErrNotExist) {
			n++
		}
		if err == nil {
			s.Close()
		}
	}
	return n
}

// use begins to use a journal.
func (f *file) use(j *journal) {
	f.journal = j
	f.folders.Go(func() { f.folder(j, f.stop) }) // ends with Close
}

// journals reports whether there is a journal to write to, and makes one if it can.
func (f *file) journals() bool {
	if f.journal != nil {
		return true
	}
	if time.Now().Before(f.retry) {
		return false
	}
	j, err := f.begin()
	if err != nil {
		f.retry = time.Now().Add(journalRetry)
		f.log.Warn("there is no lease journal: leases are written to the file itself, which is slower", "path", f.path, "err", err)
		return false
	}
	f.use(j)
	return true
}

// begin makes a journal, with the number that the file knows.
func (f *file) begin() (*journal, error) {
	var m mark
	for i := range segments { // first, for they need room
		s, err := makeSegment(segmentPath(f.path, i), f.size)
		if err != nil {
			return nil, err
		}
		s.Close()
	}
	err := f.db.Update(func(tx *bbolt.Tx) error {
		if m = readMark(tx); m.journal == 0 || m.stale {
			m.journal, m.folded, m.stale = newJournalID(), 0, false
		}
		for _, name := range journaled { // so that Load comes to them
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return m.write(tx)
	})
	if err != nil {
		return nil, err
	}
	return openJournal(f.path, m.journal, m.folded, f.size, openSegment)
}

// append writes a commit to the journal.
func (f *file) append(revision uint64, batch []Record) error {
	givenUp, err := f.journal.append(revision, batch)
	if errors.Is(err, errNoRoom) {
		if err = f.fold(f.journal); err != nil {
			return err
		}
		givenUp, err = f.journal.append(revision, batch)
	}
	if err != nil && !errors.Is(err, errNoRoom) {
		f.log.Error("the lease journal cannot be written; leases are written to the file itself", "path", f.path, "err", err)
	}
	// bbolt has to say that the entry does not count.
	f.broken = givenUp
	return err
}

// waiting gives what bbolt has not yet, by bucket. f.folding is held.
func (f *file) waiting() (map[string][]Record, error) {
	if f.journal == nil {
		return nil, nil
	}
	all, err := f.journal.pending()
	if err != nil {
		return nil, err
	}
	records, err := lastRecords(all)
	out := map[string][]Record{}
	for _, r := range records {
		out[r.Bucket] = append(out[r.Bucket], r)
	}
	return out, err
}

// forsake says what is lost with a journal that is stale.
func (f *file) forsake(m mark) {
	j, err := openJournal(f.path, m.journal, m.folded, f.size, openSegment)
	if err != nil {
		return
	}
	defer j.close()
	if n := j.newest() - m.folded; n > 0 {
		f.log.Warn("an older muster has written the file since this one was killed: leases that only the journal had are lost", "path", f.path, "commits", n)
	}
}
