package statetest

import (
	"slices"
	"testing"

	"muster/roles"
)

func bootID(b roles.Boot) uint64 { return b.ID }
func seq(e roles.Event) uint64   { return e.Seq }

func testBootsKept(t *testing.T, r *rack) {
	const more = 5
	for range roles.BootsKept + more {
		r.update(func(tx roles.Tx) error {
			id, err := tx.NextBoot()
			if err != nil {
				return err
			}
			for _, m := range []roles.MAC{mac(1), mac(2)} {
				if m == mac(2) && id > 1 {
					continue // an old boot of another node stays
				}
				if m == mac(2) {
					id = 1000
				}
				if err := tx.Boots().Put(roles.Boot{ID: id, Node: m, Token: "t", Events: []roles.Event{{Seq: 77}}}); err != nil {
					return err
				}
				if _, err := tx.Append(roles.Event{Node: m, Boot: id}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var want []uint64
	for id := uint64(roles.BootsKept + more); id > more; id-- {
		want = append(want, id)
	}
	r.reopen()
	r.view(func(tx roles.Tx) {
		equal(t, "boots of the node, newest first", pick(tx.BootsOf(mac(1)), bootID), want)
		equal(t, "boots of the other node", pick(tx.BootsOf(mac(2)), bootID), []uint64{1000})
		if n := len(slices.Collect(tx.Boots().All())); n != roles.BootsKept+1 {
			t.Errorf("%d boots, want %d", n, roles.BootsKept+1)
		}
		if n := len(slices.Collect(tx.Events(0))); n != roles.BootsKept+more+1 {
			t.Errorf("%d events in the log, want those of deleted boots, too", n)
		}
		for b := range tx.BootsOf(mac(1)) {
			if len(b.Events) != 1 || b.Events[0].Boot != b.ID || b.Token != "t" {
				t.Errorf("boot %+v: want its one event and its token", b)
			}
			break
		}
	})
}

// testRunningBootKept: who sends packets in a node's name pushes its older boots out, but not the one that runs.
func testRunningBootKept(t *testing.T, r *rack) {
	put := func(b roles.Boot) {
		b.Node = mac(1)
		r.update(func(tx roles.Tx) error { return tx.Boots().Put(b) })
	}
	put(roles.Boot{ID: 1, Up: noon})
	put(roles.Boot{ID: 2, Claim: "c"})
	for id := uint64(3); id < 3+2*roles.BootsKept; id++ {
		put(roles.Boot{ID: id})
	}
	r.reopen()
	r.view(func(tx roles.Tx) {
		got := pick(tx.BootsOf(mac(1)), bootID)
		if len(got) != roles.BootsKept+1 || got[len(got)-1] != 2 || got[0] != 2+2*roles.BootsKept {
			t.Errorf("boots %d, want the latest %d and 2", got, roles.BootsKept)
		}
	})
	put(roles.Boot{ID: 100, Up: noon})
	r.view(func(tx roles.Tx) {
		if got := pick(tx.BootsOf(mac(1)), bootID); len(got) != roles.BootsKept || slices.Contains(got, 2) {
			t.Errorf("boots %d, want the latest %d alone", got, roles.BootsKept)
		}
	})
}

func testForget(t *testing.T, r *rack) {
	r.update(Fill)
	r.update(func(tx roles.Tx) error { return tx.Nodes().Delete(mac(7)) })
	c := Dump(r.Store)
	if len(c.Boots) != 0 || len(c.Events) != 1 {
		t.Errorf("%d boots, %d events of a deleted node; want 0 and 1", len(c.Boots), len(c.Events))
	}
}

func testNextBoot(t *testing.T, r *rack) {
	var last uint64
	next := func(tx roles.Tx) error {
		id, err := tx.NextBoot()
		if err == nil && id <= last {
			t.Errorf("boot %d after %d", id, last)
		}
		last = id
		return err
	}
	r.update(next)
	if last != 1 {
		t.Errorf("the first boot is %d, want 1", last)
	}
	r.update(func(tx roles.Tx) error {
		if err := next(tx); err != nil {
			return err
		}
		return next(tx)
	})
	r.reopen()
	r.update(next)
}

func testEvents(t *testing.T, r *rack) {
	ev := roles.Event{Seq: 99, Time: noon, Node: mac(1), Name: "web-01", Boot: 1, Step: roles.StepHello, Message: "m", Error: "e"}
	for i := range 5 {
		r.update(func(tx roles.Tx) error {
			got, err := tx.Append(ev)
			want := ev
			want.Seq = uint64(i + 1)
			equal(t, "appended event", got, want)
			return err
		})
	}
	r.reopen()
	r.view(func(tx roles.Tx) {
		equal(t, "all events", pick(tx.Events(0), seq), []uint64{1, 2, 3, 4, 5})
		equal(t, "later events", pick(tx.Events(3), seq), []uint64{4, 5})
		equal(t, "no later events", pick(tx.Events(5), seq), []uint64(nil))
		equal(t, "events after the end of time", pick(tx.Events(1<<64-1), seq), []uint64(nil))
		if _, ok := tx.Boots().Get(1); ok {
			t.Error("an event made a boot")
		}
	})
	// A boot may be put after its first event.
	r.update(func(tx roles.Tx) error { return tx.Boots().Put(roles.Boot{ID: 1, Node: mac(1)}) })
	r.view(func(tx roles.Tx) {
		b, _ := tx.Boots().Get(1)
		equal(t, "timeline", pick(slices.Values(b.Events), seq), []uint64{1, 2, 3, 4, 5})
	})
}

func testTimeline(t *testing.T, r *rack) {
	const n = roles.BootEventsKept + 120
	r.update(func(tx roles.Tx) error { return tx.Boots().Put(roles.Boot{ID: 1, Node: mac(1)}) })
	appendTo := func(n int) {
		r.update(func(tx roles.Tx) error {
			for range n {
				if _, err := tx.Append(roles.Event{Boot: 1}); err != nil {
					return err
				}
				if _, err := tx.Append(roles.Event{Boot: 2}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	appendTo(n / 2)
	r.reopen()
	appendTo(n - n/2)
	for range 2 {
		r.view(func(tx roles.Tx) {
			b, _ := tx.Boots().Get(1)
			if len(b.Events) != roles.BootEventsKept || !slices.IsSorted(pick(slices.Values(b.Events), seq)) {
				t.Fatalf("%d events in the timeline, want %d in order", len(b.Events), roles.BootEventsKept)
			}
			if first, last := b.Events[0].Seq, b.Events[len(b.Events)-1].Seq; first != 1 || last != 2*n-1 {
				t.Errorf("timeline from %d to %d, want from 1 to %d", first, last, 2*n-1)
			}
			for i := range 20 { // a boot's usual length survives from its beginning
				if b.Events[i].Seq != uint64(2*i+1) {
					t.Errorf("event %d of the timeline is %d, want %d", i, b.Events[i].Seq, 2*i+1)
				}
			}
			if got := len(slices.Collect(tx.Events(0))); got != 2*n {
				t.Errorf("%d events in the log, want all %d", got, 2*n)
			}
		})
		r.reopen()
	}
}
