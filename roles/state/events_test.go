package state

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"muster/roles"
)

// nearlyFull is a store whose log has but few numbers to go until it is full: the events before them never
// were.
func nearlyFull(t *testing.T, m *Memory, left uint64) *Store {
	t.Helper()
	s, err := New(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(rtx roles.Tx) error {
		c := table[string, counter]{rtx.(*tx), counterKind}
		return errors.Join(c.Put(counter{eventCounter, roles.EventsKept - left}),
			rtx.Boots().Put(roles.Boot{ID: 1, Node: roles.MAC{1}}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLogIsBounded lets events leave the log: those of a kept boot stay in its timeline, the others go,
// also from the backend.
func TestLogIsBounded(t *testing.T) {
	var m Memory
	const before = 300 // events that the log still has room for
	s := nearlyFull(t, &m, before)
	add := func(n int, boot uint64) {
		err := s.Update(t.Context(), func(tx roles.Tx) error {
			for range n {
				if _, err := tx.Append(roles.Event{Boot: boot}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(20, 1)        // a timeline
	add(10, 0)        // no boot's
	add(10, 2)        // of a boot that was never put
	add(before-40, 0) // the log is full now
	// Numbers below are of events that never were: nothing leaves the log until they have passed.
	err := s.Update(t.Context(), func(rtx roles.Tx) error {
		return table[string, counter]{rtx.(*tx), counterKind}.Put(counter{eventCounter, 2*roles.EventsKept - before})
	})
	if err != nil {
		t.Fatal(err)
	}
	add(100, 0) // the first 40 have left, and 60 more
	check := func(what string, timeline int) {
		t.Helper()
		s.View(func(tx roles.Tx) error {
			b, _ := tx.Boots().Get(1)
			if len(b.Events) != timeline {
				t.Errorf("%s: %d events in the timeline, want %d", what, len(b.Events), timeline)
			}
			if n := len(slices.Collect(tx.Events(0))); n != before-100+100 {
				t.Errorf("%s: %d events in the log, want %d", what, n, before)
			}
			return nil
		})
		if n := len(m.buckets["events"]); n != before+timeline {
			t.Errorf("%s: %d events stored, want %d", what, n, before+timeline)
		}
	}
	check("after leaving the log", 20)
	var err2 error
	if s, err2 = New(&m, Options{}); err2 != nil {
		t.Fatal(err2)
	}
	check("reopened", 20)
	if err := s.Update(t.Context(), func(tx roles.Tx) error { return tx.Boots().Delete(1) }); err != nil {
		t.Fatal(err)
	}
	check("without the boot", 0)
}

// FuzzEvent reads any bytes; what is read is written and read back the same.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-03-01T12:00:00Z","mac":"52:54:00:aa:00:01","boot":3,"step":"hello","message":"m"}`))
	f.Add([]byte(`{"mac":""}`))
	f.Add([]byte(`{"seq":-1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := eventKind.unmarshal(b)
		if err != nil {
			return
		}
		out, err := eventKind.marshal(e)
		if err != nil {
			if strings.Contains(err.Error(), "Time") { // a zone offset that RFC 3339 cannot write
				return
			}
			t.Fatalf("%q was read as %+v, which is not written: %v", b, e, err)
		}
		again, err := eventKind.unmarshal(out)
		if err != nil || !again.Time.Equal(e.Time) {
			t.Fatalf("%q was written as %q: %v", b, out, err)
		}
		again.Time = e.Time
		if again != e {
			t.Errorf("%q: got %+v, want %+v", out, again, e)
		}
	})
}
