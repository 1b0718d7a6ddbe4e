package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// An entry is one commit in the lease journal, in numbers that are big-endian:
//
//	checksum   4  CRC-32C of all that follows, the padding left out
//	length     4  bytes of the changes
//	journal    8  the random number of the journal: nothing of another one is ever read
//	sequence   8  one more than that of the entry before
//	revision   8  of the commit
//	changes       each: its bucket and whether it deletes (1 byte), the key and, unless it deletes, the value; both
//	              after their length as a uvarint
//	padding       with zeros to entryAlign: what disks write as one, so that no entry is written with another one
const (
	entryHead  = 4 + 4 + 8 + 8 + 8
	entryAlign = 512
)

type entry struct {
	sequence, revision uint64
	changes            []byte
	end                int // where the next one begins
}

// The buckets that are journaled, by their number in an entry.
var journaled = [...]string{leaseBucket, lease6Bucket}

const changeDeletes = 0x80

var padding [entryAlign]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// isJournaled reports whether all of batch can be written as an entry.
func isJournaled(batch []Record) bool {
	for i := range batch {
		if !slices.Contains(journaled[:], batch[i].Bucket) {
			return false
		}
	}
	return len(batch) > 0
}

// appendEntry appends the entry of a commit to b, which is empty.
func appendEntry(b []byte, journal, sequence, revision uint64, batch []Record) []byte {
	b = append(b, padding[:8]...)
	b = binary.BigEndian.AppendUint64(b, journal)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = binary.BigEndian.AppendUint64(b, revision)
	for i := range batch {
		b = appendChange(b, &batch[i])
	}
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-entryHead))
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return append(b, padding[:-len(b)&(entryAlign-1)]...)
}

func appendChange(b []byte, r *Record) []byte {
	kind := byte(slices.Index(journaled[:], r.Bucket))
	if r.Value == nil {
		kind |= changeDeletes
	}
	b = binary.AppendUvarint(append(b, kind), uint64(len(r.Key)))
	b = append(b, r.Key...)
	if r.Value == nil {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(r.Value)))
	return append(b, r.Value...)
}

// parseEntry reads the entry that b begins with; false when there is none of this journal.
func parseEntry(b []byte, journal uint64) (e entry, ok bool) {
	if len(b) < entryHead || binary.BigEndian.Uint64(b[8:]) != journal {
		return e, false
	}
	n := uint64(entryHead) + uint64(binary.BigEndian.Uint32(b[4:]))
	if n > uint64(len(b)) || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:n], castagnoli) {
		return e, false
	}
	e.sequence, e.revision = binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	e.changes = b[entryHead:n]
	e.end = int(n+entryAlign-1) / entryAlign * entryAlign
	return e, true
}

// scanEntries finds all entries in b, which may also hold what others have left and what was torn.
func scanEntries(b []byte, journal uint64) (all []entry) {
	for at := 0; at < len(b); {
		e, ok := parseEntry(b[at:], journal)
		if !ok {
			at += entryAlign
			continue
		}
		at += e.end
		e.end = at
		all = append(all, e)
	}
	return all
}

// records gives the changes of an entry. They are parts of the buffer that it was read from.
func (e entry) records() (out []Record, err error) {
	for b := e.changes; len(b) > 0; {
		var r Record
		if r, b, err = parseChange(b); err != nil {
			return nil, fmt.Errorf("entry %d of the lease journal: %w", e.sequence, err)
		}
		out = append(out, r)
	}
	return out, nil
}

var errChange = errors.New("it has a change that this muster does not know")

func parseChange(b []byte) (r Record, rest []byte, err error) {
	kind := b[0]
	if int(kind&^changeDeletes) >= len(journaled) {
		return r, nil, errChange
	}
	r.Bucket = journaled[kind&^changeDeletes]
	var ok bool
	if r.Key, rest, ok = parseBytes(b[1:]); ok && kind&changeDeletes == 0 {
		r.Value, rest, ok = parseBytes(rest)
	}
	if !ok {
		return r, nil, errChange
	}
	return r, rest, nil
}

// parseBytes reads a length and as many bytes. They are not nil.
func parseBytes(b []byte) (v, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	end := size + int(n)
	return b[size:end:end], b[end:], true
}

// compareRecords is the order of a backend.
func compareRecords(a, b Record) int {
	if a.Bucket != b.Bucket {
		return bytes.Compare([]byte(a.Bucket), []byte(b.Bucket))
	}
	return bytes.Compare(a.Key, b.Key)
}
