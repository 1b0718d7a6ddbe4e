package state

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// journal makes the commits of leases durable before bbolt has them: one write into blocks that are there already,
// and one sync. A commit of bbolt costs several pages and a commit of the file system's own journal.
//
// Its entries are numbered without a gap. Those up to folded are in bbolt; the others are read at the start. Of the
// two segments one is written; the other is taken when that is full and all entries of the other are folded.
//
// What the numbers promise: an entry is never read after bbolt has it, so that nothing comes back that was changed
// since; and a damaged entry with a good one behind it is a gap, which is an error and not the end.
type journal struct {
	id   uint64
	size int // of a segment
	buf  []byte
	full chan struct{} // gets a value when a segment is full

	mu     sync.Mutex // guards all below
	segs   [segments]segment
	active int
	last   uint64 // sequence of the last entry
	folded uint64
}

// segments is how many there are: one is written while the other is folded.
const segments = 2

// errNoRoom is returned by append for an entry that no segment has room for now.
var errNoRoom = errors.New("the lease journal is full")

// newJournalID gives the number of a new journal. Zero is none.
func newJournalID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}

// openJournal opens the segments beside path with open, and reads what is not folded.
func openJournal(path string, id, folded uint64, size int, open func(string, int) (blocks, error)) (*journal, error) {
	j := &journal{id: id, size: size, folded: folded, last: folded, full: make(chan struct{}, 1)}
	for i := range j.segs {
		f, err := open(segmentPath(path, i), size)
		if err != nil {
			j.close()
			return nil, err
		}
		j.segs[i].f = f
	}
	if err := j.find(); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// find looks for the entries that are not folded.
func (j *journal) find() error {
	found := false
	for i := range j.segs {
		all, err := j.segs[i].read(j.id, j.size)
		if err != nil {
			return err
		}
		for _, e := range all {
			if e.sequence <= j.folded {
				continue
			}
			found = true
			s := &j.segs[i]
			if e.sequence > s.last {
				s.last, s.end = e.sequence, e.end
			}
			if e.sequence > j.last {
				j.last, j.active = e.sequence, i
			}
		}
	}
	if !found {
		return nil
	}
	// A process that was killed between its write and its sync has left what only the kernel knows. It counts, and
	// is made durable before anything that depends on it.
	for i := range j.segs {
		if err := j.segs[i].f.Sync(); err != nil {
			return err
		}
	}
	_, err := j.pending()
	return err
}

// read gives the entries in the first n bytes of a segment.
func (s *segment) read(id uint64, n int) ([]entry, error) {
	b := make([]byte, n)
	if _, err := s.f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read the lease journal: %w", err)
	}
	return scanEntries(b, id), nil
}

// pending gives the entries that are not folded, in their order. Nobody may fold meanwhile.
func (j *journal) pending() ([]entry, error) {
	j.mu.Lock()
	from, older, newer := j.folded, j.segs[1-j.active], j.segs[j.active]
	j.mu.Unlock()
	var out []entry
	for _, s := range []segment{older, newer} {
		if s.last <= from {
			continue
		}
		all, err := s.read(j.id, s.end)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if e.sequence > from {
				out = append(out, e)
			}
		}
	}
	for i, e := range out {
		if next := from + 1 + uint64(i); e.sequence != next {
			return nil, fmt.Errorf("entry %d is missing or damaged, and there are later ones", next)
		}
	}
	return out, nil
}

// append makes a commit durable. After errNoRoom nothing has happened. After any other error, given up says that the
// entry may be found at the next start, unless bbolt says that it is folded.
func (j *journal) append(revision uint64, batch []Record) (givenUp bool, err error) {
	j.mu.Lock()
	sequence := j.last + 1
	j.mu.Unlock()
	b := appendEntry(j.buf[:0], j.id, sequence, revision, batch)
	s := j.room(len(b))
	if s == nil {
		return false, errNoRoom
	}
	j.buf = b
	// Nobody else writes, and nobody reads behind end.
	erased, err := s.write(b)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		if !erased {
			j.last = sequence
		}
		return !erased, err
	}
	s.end += len(b)
	s.last, j.last = sequence, sequence
	return false, nil
}

// room gives the segment that takes n bytes more; nil when none does.
func (j *journal) room(n int) *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := &j.segs[j.active]; s.end+n <= j.size {
		return s
	}
	other := &j.segs[1-j.active]
	if other.last > j.folded || n > j.size {
		return nil
	}
	j.active, other.end = 1-j.active, 0
	select {
	case j.full <- struct{}{}:
	default:
	}
	return other
}

// newest is the sequence of the last entry, or of the last that was given up.
func (j *journal) newest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// fold notes that bbolt has the entries up to a sequence.
func (j *journal) fold(sequence uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.folded = sequence
}

func (j *journal) close() error {
	var faults []error
	for i := range j.segs {
		if f := j.segs[i].f; f != nil {
			faults = append(faults, f.Close())
		}
	}
	return errors.Join(faults...)
}
