package trace

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/dhcpd"
	"muster/dhcpd/lease"
)

func mac(n byte) lease.MAC { return lease.MAC{0x52, 0x54, 0, 0, 0, n} }

func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Hub{}
		one, err := h.Watch(mac(1))
		if err != nil {
			t.Fatal(err)
		}
		all, err := h.Watch()
		if err != nil {
			t.Fatal(err)
		}
		data := []byte{1}
		for i := range byte(3) {
			data[0] = i
			h.Tap(dhcpd.Packet{MAC: mac(i), Data: data})
		}
		data[0] = 99 // the server uses it again
		if r, err := one.Next(t.Context()); err != nil || r.MAC != mac(1) || r.Data[0] != 1 || r.Lost != 0 || !r.Time.Equal(time.Now()) {
			t.Errorf("the watcher of one machine got %+v, %v", r, err)
		}
		for i := range byte(3) {
			if r, err := all.Next(t.Context()); err != nil || r.MAC != mac(i) || r.Data[0] != i {
				t.Errorf("packet %d of all: %+v, %v", i, r, err)
			}
		}
		// It waits for what comes, and ends with its context.
		go func() {
			time.Sleep(time.Minute)
			h.Tap(dhcpd.Packet{MAC: mac(1), Data: data})
		}()
		if r, err := one.Next(t.Context()); err != nil || r.Data[0] != 99 {
			t.Errorf("later: %+v, %v", r, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := one.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next = %v after its context's end", err)
		}
		one.Close()
		one.Close()
		h.Tap(dhcpd.Packet{MAC: mac(1), Data: data})
		if len(one.queue) != 0 {
			t.Error("a watch that was closed goes on")
		}
		all.Close()
	})
}

// TestSlowWatcher: who does not read loses what comes after a full queue, is told how many, and holds nobody up.
func TestSlowWatcher(t *testing.T) {
	h := &Hub{}
	w, err := h.Watch()
	if err != nil {
		t.Fatal(err)
	}
	quick, err := h.Watch()
	if err != nil {
		t.Fatal(err)
	}
	next := func(w *Watcher) Record {
		t.Helper()
		r, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for range queueLen + 7 {
		h.Tap(dhcpd.Packet{Data: []byte{1}})
		if r := next(quick); r.Lost != 0 || len(r.Data) != 1 {
			t.Fatalf("the quick one got %+v", r)
		}
	}
	for i := range queueLen {
		if r := next(w); r.Lost != 0 || len(r.Data) != 1 {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
	if r := next(w); r.Lost != 7 || r.Data != nil {
		t.Errorf("after the full queue: %+v", r)
	}
	h.Tap(dhcpd.Packet{Data: []byte{2}})
	if r := next(w); r.Lost != 0 || r.Data[0] != 2 {
		t.Errorf("and then: %+v", r)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	h := &Hub{}
	var all []*Watcher
	for range maxWatchers {
		w, err := h.Watch()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	if _, err := h.Watch(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("one more: %v", err)
	}
	all[5].Close()
	if n := h.Watching(); n != maxWatchers-1 {
		t.Errorf("%d watch", n)
	}
	if _, err := h.Watch(); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	h := &Hub{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				w, err := h.Watch(mac(1))
				if err != nil {
					t.Error(err)
					return
				}
				h.Tap(dhcpd.Packet{MAC: mac(1), Data: []byte{1}})
				if _, err := w.Next(t.Context()); err != nil {
					t.Error(err)
				}
				w.Close()
			}
		})
	}
	wg.Wait()
}

// TestNobodyWatches: then a packet costs no memory.
func TestNobodyWatches(t *testing.T) {
	h := &Hub{}
	p := dhcpd.Packet{MAC: mac(1), Data: make([]byte, 300)}
	if n := testing.AllocsPerRun(100, func() { h.Tap(p) }); n != 0 {
		t.Errorf("%v allocations for each packet", n)
	}
}

func BenchmarkNobodyWatches(b *testing.B) {
	h := &Hub{}
	p := dhcpd.Packet{MAC: mac(1), Data: make([]byte, 300)}
	for b.Loop() {
		h.Tap(p)
	}
}
