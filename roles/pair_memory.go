package roles

import (
	"slices"
	"sync"
	"time"
)

// Bounds of what a half says.
const (
	// halfSilent is how long a half may be silent before what it said counts no more: it speaks every 2 s.
	halfSilent = 10 * time.Second
	// halfGone is how long it must be silent before that is worth an event: a failover takes less.
	halfGone = 30 * time.Second
)

// pairMemory is what the halves of storage pairs said last. It is not stored: a half repeats itself every few
// seconds. The zero value is ready.
type pairMemory struct {
	mu      sync.Mutex
	began   time.Time              // since when somebody listens
	halves  map[string]halfMemory  // by slot
	served  map[string]pairService // by pool
	told    map[string]string      // by pool: the state that an event told of last
	fencing map[string]fencing     // by slot
	shots   map[MAC]*shot          // machines that are being switched off
	ons     map[string]time.Time   // by slot: when it was last tried to switch a fenced machine on again
	changed chan struct{}          // closed when what Stored says may be another
}

// halfMemory is one half.
type halfMemory struct {
	node   MAC
	boot   uint64
	began  time.Time // the boot
	half   Half
	at     time.Time
	ready  time.Time // since when its disk is ready, without a break
	active time.Time // since when it is active, without a break
	// verified is when it last came to another outcome of a verification, full that its volume was found so.
	verified time.Time
	full     bool
	// refused is why its disk is refused, as an event told last.
	refused string
}

// pairService is when a pair was active: since when without a pause, which half, and when that was said last.
type pairService struct {
	slot        string
	since, last time.Time
	// before is the half that was active before, and until when.
	before string
	until  time.Time
}

// fencing is what the test of a slot's power said, or a shot that missed; missed is when the shot did.
type fencing struct {
	why        string
	at, missed time.Time
}

// listen notes since when somebody listens, and gives that.
func (m *pairMemory) listen(now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listening(now)
}

func (m *pairMemory) listening(now time.Time) time.Time {
	if m.began.IsZero() {
		m.began = now
		m.halves, m.served, m.told = map[string]halfMemory{}, map[string]pairService{}, map[string]string{}
		m.fencing, m.shots, m.ons = map[string]fencing{}, map[MAC]*shot{}, map[string]time.Time{}
	}
	return m.began
}

// hear notes what a half says, and gives what is known of it before and after; the time of before is zero where it
// said nothing in this boot.
func (m *pairMemory) hear(w halfIdentity, h Half, now time.Time) (before, after halfMemory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening(now)
	before = m.halves[w.slot.Name]
	if before.node != w.node.MAC || before.boot != w.boot.ID {
		before = halfMemory{}
	}
	next := halfMemory{node: w.node.MAC, boot: w.boot.ID, began: w.boot.Started, half: h, at: now}
	if h.Phase == PhaseReady || h.Phase == PhaseCluster {
		next.ready = now
		if !before.ready.IsZero() {
			next.ready = before.ready
		}
	}
	if h.Active {
		next.active = now
		if !before.active.IsZero() {
			next.active = before.active
		}
		if !h.Frozen {
			m.serves(w.pool.Name, w.slot.Name, now)
		}
	}
	if next.verified = before.verified; !before.at.IsZero() && h.Verify != "" && h.Verify != before.half.Verify {
		next.verified = now
	}
	next.refused = before.refused
	if next.full = before.full; h.Capacity > 0 {
		next.full = h.full(before.full)
	}
	m.halves[w.slot.Name] = next
	if differs(before.half, h) || now.Sub(before.at) > halfSilent {
		m.wake()
	}
	return before, next
}

// refuses notes why the disk of a half is refused, and reports whether that is worth an event.
func (m *pairMemory) refuses(slot, why string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.halves[slot]
	told := h.refused
	h.refused = why
	m.halves[slot] = h
	return why != "" && why != told
}

// stir wakes who waits for a change.
func (m *pairMemory) stir() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
}

func (m *pairMemory) serves(pool, slot string, now time.Time) {
	s := m.served[pool]
	if s.slot != slot {
		s = pairService{slot: slot, since: now, before: s.slot, until: s.last}
	} else if now.Sub(s.last) > halfSilent {
		s.since = now
	}
	s.last = now
	m.served[pool] = s
}

// differs reports whether a half says something that others wait for.
func differs(a, b Half) bool {
	return a.Phase != b.Phase || a.Active != b.Active || a.Frozen != b.Frozen || a.Revision != b.Revision || a.DiskState != b.DiskState ||
		a.Connection != b.Connection || a.Split != b.Split || !slices.Equal(a.Images, b.Images)
}

// forget drops what the half in a slot said: its machine was switched off.
func (m *pairMemory) forget(slot string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.halves, slot)
	m.wake()
}

// wake wakes who waits for changed. The caller holds mu.
func (m *pairMemory) wake() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// half gives what the node in a slot said last.
func (m *pairMemory) half(slot string, node MAC) halfMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.halves[slot]; h.node == node {
		return h
	}
	return halfMemory{}
}

// hears reports whether the half that node n is has spoken lately.
func (m *pairMemory) hears(n Node, now time.Time) bool {
	h := m.half(n.Slot, n.MAC)
	return !h.at.IsZero() && now.Sub(h.at) <= halfGone
}

func (m *pairMemory) service(pool string) pairService {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.served[pool]
}

func (m *pairMemory) fencingOf(slot string) fencing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fencing[slot]
}

// PairWatch returns a channel that is closed when what Stored says may have become another, percents apart. The
// store's revision does not change by that.
func (r *Registry) PairWatch() <-chan struct{} {
	m := &r.pairs
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}
