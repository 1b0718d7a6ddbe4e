package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// smallSegment is full after a few commits.
const smallSegment = 8 << 10

// held is a file under test, with what it must have.
type held struct {
	*file
	t        *testing.T
	content  map[string]string // by bucket/key
	revision uint64
}

func newHeld(t *testing.T) *held {
	h := &held{t: t, content: map[string]string{}}
	h.open(filepath.Join(t.TempDir(), "state.db"))
	t.Cleanup(func() { h.kill() })
	return h
}

func (h *held) open(path string) {
	h.t.Helper()
	f, err := openFile(path, smallSegment, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	h.file = f
}

// kill ends a file as the end of its process does: nothing is folded.
func (h *held) kill() { killed{h.file}.Close() }

func (h *held) commit(batch ...Record) {
	h.t.Helper()
	if err := h.Commit(h.revision+1, batch); err != nil {
		h.t.Fatal(err)
	}
	h.revision++
	for _, r := range batch {
		if r.Value == nil {
			delete(h.content, r.Bucket+"/"+string(r.Key))
		} else {
			h.content[r.Bucket+"/"+string(r.Key)] = string(r.Value)
		}
	}
}

// lease commits a lease alone.
func (h *held) lease(key, value string) {
	h.t.Helper()
	h.commit(Record{leaseBucket, []byte(key), []byte(value)})
}

// check compares what Load gives.
func (h *held) check() {
	h.t.Helper()
	got := map[string]string{}
	var keys []string
	rev, err := h.Load(func(r Record) error {
		got[r.Bucket+"/"+string(r.Key)] = string(r.Value)
		keys = append(keys, r.Bucket+"\x00"+string(r.Key))
		return nil
	})
	if err != nil || rev != h.revision || !maps.Equal(got, h.content) {
		h.t.Fatalf("revision %d, %v, %v\nwant revision %d, %v", rev, got, err, h.revision, h.content)
	}
	if !slices.IsSorted(keys) || len(keys) != len(got) {
		h.t.Fatalf("keys %q: want each one once, in order", keys)
	}
}

// faulty fails now and then, half way.
type faulty struct {
	blocks
	fails func() bool
}

var errFaulty = errors.New("the disk is in trouble")

func (f faulty) WriteAt(b []byte, at int64) (int, error) {
	torn := f.fails()
	if torn && len(b) > entryHead {
		_, _ = f.blocks.WriteAt(b[:len(b)/2], at)
	}
	if torn {
		return 0, errFaulty
	}
	n, err := f.blocks.WriteAt(b, at)
	if f.fails() { // all of it is there, but not for long perhaps
		return n, errFaulty
	}
	return n, err
}

// TestJournalModel does everything that can be done to a file, in any order: what was committed is there, and nothing
// that was changed since comes back.
func TestJournalModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			h := newHeld(t)
			some := func(bucket string) (r Record) {
				r = Record{bucket, fmt.Appendf(nil, "key%d", rnd.IntN(9)), fmt.Appendf(nil, "%d", rnd.Uint32())}
				if rnd.IntN(4) == 0 {
					r.Value = nil
				}
				return r
			}
			for range 400 {
				switch n := rnd.IntN(100); {
				case n < 60:
					h.commit(some(leaseBucket))
				case n < 70:
					h.commit(some(lease6Bucket), some(leaseBucket))
				case n < 78:
					h.commit(some("nodes"))
				case n < 82:
					h.commit(some("nodes"), some(leaseBucket))
				case n < 84:
					h.lease("large", strings.Repeat("x", rnd.IntN(2*smallSegment)))
				case n < 88 && h.journal != nil:
					if err := h.fold(h.journal); err != nil {
						t.Fatal(err)
					}
				case n < 90 && h.journal != nil:
					for i := range h.journal.segs {
						s := &h.journal.segs[i]
						s.f = faulty{s.f, func() bool { return rnd.IntN(3) == 0 }}
					}
				case n < 93:
					h.Close()
					h.open(h.path)
				case n < 98:
					h.kill()
					h.open(h.path)
				default:
					h.check()
				}
			}
			h.kill()
			h.open(h.path)
			h.check()
		})
	}
}

// remains kills the process, and gives the first segment of what it left.
func (h *held) remains() (path string, content []byte) {
	h.t.Helper()
	h.kill()
	path = segmentPath(h.path, 0)
	content, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return path, content
}

// TestJournalTorn cuts the journal at every byte of its last entry: what was committed before is there.
func TestJournalTorn(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "1")
	h.lease("b", "2")
	before := maps.Clone(h.content)
	start := h.journal.segs[0].end
	h.lease("c", strings.Repeat("3", 600))
	segment, whole := h.remains()
	h.content, h.revision = before, h.revision-1
	for cut := start; cut < start+entryHead+600; cut++ {
		torn := slices.Clone(whole)
		clear(torn[cut:])
		if err := os.WriteFile(segment, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		h.open(h.path)
		h.check()
		h.kill()
	}
	h.open(h.path)
	h.lease("d", "4") // over the torn one
	h.kill()
	h.open(h.path)
	h.check()
}

// TestJournalDamage damages each byte of an entry that others follow: that is said, and not taken for the end.
func TestJournalDamage(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "1")
	start := h.journal.segs[0].end
	h.lease("b", "2")
	h.lease("c", "3")
	segment, whole := h.remains()
	length := int(binary.BigEndian.Uint32(whole[start+4:]))
	for at := start; at < start+entryHead+length; at++ {
		bad := slices.Clone(whole)
		bad[at] ^= 0x10
		if err := os.WriteFile(segment, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := openFile(h.path, smallSegment, slog.New(slog.DiscardHandler))
		if err == nil {
			f.Close()
			t.Fatalf("byte %d is damaged, and nobody noticed", at)
		}
		if text := err.Error(); !strings.Contains(text, "entry 2 is missing or damaged") || strings.Contains(text, "\n") {
			t.Fatalf("error %q", text)
		}
	}
	if err := os.WriteFile(segment, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	h.open(h.path)
	h.check()
}

// TestJournalOfAnother: what an older muster wrote, which knows no journal, is newer than what the journal has; and a
// journal that lies beside a new file is somebody else's.
func TestJournalOfAnother(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "journal")
	h.kill()
	db, err := bbolt.Open(h.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.revision = 7
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(fileBucket)
		return errors.Join(b.Put(revisionKey, binary.BigEndian.AppendUint64(nil, h.revision)), tx.Bucket([]byte(leaseBucket)).Put([]byte("a"), []byte("older muster")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	h.content = map[string]string{"leases/a": "older muster"}
	h.open(h.path)
	h.check()
	h.commit(Record{"nodes", []byte("n"), []byte("1")})
	h.kill()
	h.open(h.path)
	h.check()
	h.lease("b", "journal again")
	h.kill()
	h.open(h.path)
	h.check()
	h.kill()
	if err := os.Remove(h.path); err != nil {
		t.Fatal(err)
	}
	h.content, h.revision = map[string]string{}, 0
	h.open(h.path)
	h.lease("c", "new")
	h.kill()
	h.open(h.path)
	h.check()
}

// TestCleanStop leaves nothing in the journal: an older muster may go on with the file alone.
func TestCleanStop(t *testing.T) {
	h := newHeld(t)
	for i := range 200 {
		h.lease(fmt.Sprintf("key%d", i%50), fmt.Sprint(i))
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range segments {
		if err := os.Remove(segmentPath(h.path, i)); err != nil {
			t.Fatal(err)
		}
	}
	h.open(h.path)
	h.check()
	h.lease("after", "1")
	h.kill()
	h.open(h.path)
	h.check()
}

// TestJournalSyncs: no test can see whether a write has reached the disk, but this one sees that it was asked for.
func TestJournalSyncs(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "1")
	for i, s := range h.journal.segs {
		flags, err := unix.FcntlInt(s.f.(blockFile).Fd(), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_DSYNC == 0 {
			t.Errorf("segment %d has flags %#x, %v: its writes are not durable", i, flags, err)
		}
	}
}

// TestJournalFull: entries that are not folded are never written over.
func TestJournalFull(t *testing.T) {
	j, err := openJournal(filepath.Join(t.TempDir(), "state.db"), 1, 0, smallSegment, makeSegment)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	put := []Record{{leaseBucket, []byte("key"), []byte("value")}}
	n := uint64(0)
	for err == nil && n < 1000 {
		_, err = j.append(n+1, put)
		n++
	}
	all, failed := j.pending()
	if n--; !errors.Is(err, errNoRoom) || failed != nil || uint64(len(all)) != n || n*entryAlign != 2*smallSegment {
		t.Fatalf("after %d entries %v; %d pending, %v", n, err, len(all), failed)
	}
	j.fold(n)
	if _, err := j.append(n+1, put); err != nil {
		t.Error(err)
	}
	if all, err := j.pending(); err != nil || len(all) != 1 {
		t.Errorf("%d entries pending, %v; want the one that is not folded", len(all), err)
	}
}

// TestJournalFails: an entry that could neither be synced nor erased does not count, because bbolt has its commit.
func TestJournalFails(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "1")
	s := &h.journal.segs[0]
	good, calls := s.f, 0
	s.f = faulty{good, func() bool { calls++; return calls > 1 }} // the entry is written, and then nothing works
	h.lease("a", "2")
	s.f = good
	h.commit(Record{leaseBucket, []byte("a"), []byte("3")}, Record{"nodes", []byte("n"), []byte("1")})
	h.kill()
	h.open(h.path)
	h.check()
}

// TestJournalGivenUp: when neither journal nor file can say whether a commit is there, nothing is written any more.
func TestJournalGivenUp(t *testing.T) {
	h := newHeld(t)
	h.lease("a", "1")
	for i := range h.journal.segs {
		s := &h.journal.segs[i]
		s.f = faulty{s.f, func() bool { return true }}
	}
	good := h.db
	closed, err := bbolt.Open(filepath.Join(t.TempDir(), "closed.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	h.db = closed
	put := []Record{{leaseBucket, []byte("a"), []byte("2")}}
	if err := h.Commit(h.revision+1, put); err == nil {
		t.Fatal("committed to nowhere")
	}
	h.db = good
	if err := h.Commit(h.revision+1, put); !errors.Is(err, errForeign) {
		t.Errorf("after a commit of which nobody knows: %v, want errForeign", err)
	}
}

// FuzzEntry reads any bytes as a journal; what is written is read.
func FuzzEntry(f *testing.F) {
	f.Add([]byte("garbage before it"), []byte("key"), []byte("value"))
	f.Add(appendEntry(nil, 5, 1, 2, []Record{{leaseBucket, []byte("k"), nil}}), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, before, key, value []byte) {
		for _, e := range scanEntries(before, 5) {
			_, _ = e.records()
		}
		const journal = 0x1234567890abcdef
		b := append(before[:len(before)/entryAlign*entryAlign:len(before)/entryAlign*entryAlign],
			appendEntry(nil, journal, 3, 4, []Record{{leaseBucket, key, value}, {lease6Bucket, key, nil}})...)
		all := scanEntries(b, journal)
		if len(all) != 1 || all[0].sequence != 3 || all[0].revision != 4 || all[0].end != len(b) {
			t.Fatalf("%+v", all)
		}
		records, err := all[0].records()
		if err != nil || len(records) != 2 || records[1].Bucket != lease6Bucket || records[1].Value != nil {
			t.Fatalf("%+v, %v", records, err)
		}
		if r := records[0]; r.Bucket != leaseBucket || string(r.Key) != string(key) || string(r.Value) != string(value) || (r.Value == nil) != (value == nil) {
			t.Fatalf("%+v", r)
		}
	})
}
