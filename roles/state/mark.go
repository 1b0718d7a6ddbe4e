package state

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// The file's own bucket; every other bucket holds records.
var (
	fileBucket  = []byte("file")
	revisionKey = []byte("revision")
	journalKey  = []byte("journal")
)

// mark is what the bbolt file knows of itself and of the lease journal beside it.
type mark struct {
	// revision is that of the last commit in the file. The journal may have later ones.
	revision uint64
	// journal is the number of the journal, 0 before the first; folded the sequence up to which the file has its
	// entries.
	journal, folded uint64
	// stale says that an older muster, which knows no journal, wrote the file after this one did. What the journal
	// has may be older than what the file has: it counts no more.
	stale bool
}

// readMark reads it. A journal is stored as its number, folded, and the revision at that time, by which stale is
// found.
func readMark(tx *bbolt.Tx) (m mark) {
	b := tx.Bucket(fileBucket)
	if b == nil {
		return m
	}
	if v := b.Get(revisionKey); len(v) == 8 {
		m.revision = binary.BigEndian.Uint64(v)
	}
	if v := b.Get(journalKey); len(v) == 24 {
		m.journal, m.folded = binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
		m.stale = binary.BigEndian.Uint64(v[16:]) != m.revision
	}
	return m
}

func (m mark) write(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(fileBucket)
	if err != nil {
		return err
	}
	if err := b.Put(revisionKey, binary.BigEndian.AppendUint64(nil, m.revision)); err != nil {
		return err
	}
	if m.journal == 0 || m.stale {
		return b.Delete(journalKey)
	}
	v := binary.BigEndian.AppendUint64(nil, m.journal)
	v = binary.BigEndian.AppendUint64(v, m.folded)
	return b.Put(journalKey, binary.BigEndian.AppendUint64(v, m.revision))
}
