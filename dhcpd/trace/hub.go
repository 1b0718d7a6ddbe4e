package trace

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"muster/dhcpd"
	"muster/dhcpd/lease"
)

const (
	// queueLen is how many packets wait for one watcher: some seconds of a machine that boots, and half a megabyte
	// at most.
	queueLen = 512
	// maxWatchers is how many may watch at once.
	maxWatchers = 32
)

// Record is a packet and when it was seen.
type Record struct {
	Time time.Time
	dhcpd.Packet
	// Lost is how many packets this watcher missed before this one, because it was slow. A Record without Data
	// tells only that.
	Lost uint64
}

// Hub gives the packets of a server to who watches. The zero value is ready for use.
type Hub struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	watching atomic.Int32 // the number of watchers
	mu       sync.Mutex   // guards watchers and all that is in them
	watchers []*Watcher
}

// Tap takes a packet; it is a Server's Tap. It neither blocks nor keeps p.Data.
func (h *Hub) Tap(p dhcpd.Packet) {
	if h.watching.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	copied := false
	for _, w := range h.watchers {
		if len(w.macs) > 0 && !slices.Contains(w.macs, p.MAC) {
			continue
		}
		if !copied {
			p.Data, copied = slices.Clone(p.Data), true
		}
		w.put(Record{Time: h.now(), Packet: p})
	}
}

// Watching is how many watch.
func (h *Hub) Watching() int { return int(h.watching.Load()) }

func (h *Hub) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

// Watch gives the packets of the machines with these MACs from now on, of all where there are none. The watcher must be
// closed. The error wraps fs.ErrExist when too many watch already.
func (h *Hub) Watch(macs ...lease.MAC) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) >= maxWatchers {
		return nil, fmt.Errorf("trace: %d watch already: end one of them: %w", maxWatchers, fs.ErrExist)
	}
	w := &Watcher{hub: h, macs: macs, queue: make([]Record, 0, queueLen), more: make(chan struct{}, 1)}
	h.watchers = append(h.watchers, w)
	h.watching.Add(1)
	return w, nil
}

// Watcher gets packets. One goroutine may use it.
type Watcher struct {
	hub   *Hub
	macs  []lease.MAC
	queue []Record // guarded by hub.mu
	lost  uint64   // since the last one that is in the queue; guarded by hub.mu
	more  chan struct{}
	got   []Record // taken out of the queue, not given yet
}

// put queues r, or counts it. hub.mu must be held.
func (w *Watcher) put(r Record) {
	if len(w.queue) == queueLen {
		w.lost++
		return
	}
	r.Lost, w.lost = w.lost, 0
	w.queue = append(w.queue, r)
	select {
	case w.more <- struct{}{}:
	default: // it knows already
	}
}

// Next waits for the next packet. It fails only when ctx ends.
func (w *Watcher) Next(ctx context.Context) (Record, error) {
	for {
		if len(w.got) == 0 {
			w.got = w.take()
		}
		if len(w.got) > 0 {
			r := w.got[0]
			w.got = w.got[1:]
			return r, nil
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

// take empties the queue. What was lost after its last packet is told now: nothing may come for long.
func (w *Watcher) take() []Record {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	out := slices.Clone(w.queue)
	if w.lost > 0 {
		out = append(out, Record{Time: w.hub.now(), Lost: w.lost})
	}
	w.queue, w.lost = w.queue[:0], 0
	return out
}

// Close ends the watch; more than once is fine.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if i := slices.Index(w.hub.watchers, w); i >= 0 {
		w.hub.watchers = slices.Delete(w.hub.watchers, i, i+1)
		w.hub.watching.Add(-1)
	}
}
