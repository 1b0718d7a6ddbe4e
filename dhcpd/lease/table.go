package lease

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// Table is the index of all leases. The zero value is an empty table, ready for use by any number of
// goroutines. Every operation costs O(log n) unless it says otherwise.
type Table struct {
	mu sync.RWMutex // guards all below
	// rows holds the leases and, in the same place, their tree by address. Row 0 is the empty tree.
	rows []row
	free []uint32 // rows to use again
	root uint32
	macs map[MAC]uint32
	addr map[uint32]uint32
}

// Apply deletes the leases of the MACs in deletes, then writes puts in their order. A put replaces the lease
// that its MAC had, and also the lease that another MAC had of its address: the last one written wins.
// Whoever keeps leases on disk has to delete the displaced holder there in the same commit. A lease whose
// Addr is not IPv4 is ignored.
func (t *Table) Apply(puts []Lease, deletes []MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.macs == nil {
		t.rows = make([]row, 1, 1+len(puts))
		t.rows[0].oldest = math.MaxInt64
		t.macs = make(map[MAC]uint32, len(puts))
		t.addr = make(map[uint32]uint32, len(puts))
	}
	for _, m := range deletes {
		if i, ok := t.macs[m]; ok {
			t.drop(i)
		}
	}
	for _, l := range puts {
		t.put(l)
	}
}

func (t *Table) put(l Lease) {
	l.Addr = l.Addr.Unmap()
	if !l.Addr.Is4() {
		return
	}
	a := num(l.Addr)
	if i, ok := t.addr[a]; ok && t.rows[i].mac != l.MAC {
		t.drop(i)
	}
	if i, ok := t.macs[l.MAC]; ok {
		if t.rows[i].addr == a { // a renewal: only the expiry moves
			r := &t.rows[i]
			r.expires, r.host, r.declined = nanos(l.Expires), l.Hostname, l.Declined
			t.refresh(t.root, a)
			return
		}
		t.drop(i)
	}
	i := t.alloc()
	t.rows[i] = row{mac: l.MAC, addr: a, expires: nanos(l.Expires), host: l.Hostname, declined: l.Declined}
	t.pull(i)
	t.root = t.insert(t.root, i)
	t.macs[l.MAC], t.addr[a] = i, i
}

func (t *Table) alloc() uint32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	t.rows = append(t.rows, row{})
	return uint32(len(t.rows) - 1)
}

func (t *Table) drop(i uint32) {
	r := t.rows[i]
	t.root = t.remove(t.root, r.addr)
	delete(t.macs, r.mac)
	delete(t.addr, r.addr)
	t.rows[i] = row{}
	t.free = append(t.free, i)
}

// Len is the number of leases, expired ones included. It costs O(1).
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.macs)
}

// ByMAC gives the lease of m, expired or not; false without one. It costs O(1).
func (t *Table) ByMAC(m MAC) (Lease, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, ok := t.macs[m]
	if !ok {
		return Lease{}, false
	}
	return t.rows[i].lease(), true
}

// ByAddr gives the lease of a, expired or not; false without one. It costs O(1).
func (t *Table) ByAddr(a netip.Addr) (Lease, bool) {
	if a = a.Unmap(); !a.Is4() {
		return Lease{}, false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, ok := t.addr[num(a)]
	if !ok {
		return Lease{}, false
	}
	return t.rows[i].lease(), true
}

// All gives every lease, expired ones included, in the order of their addresses. It costs O(n).
func (t *Table) All() []Lease {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]Lease, 0, len(t.macs))
	t.walk(t.root, 0, math.MaxUint32, func(r *row) { out = append(out, r.lease()) })
	return out
}

// Active counts the leases of addresses from first to last that have not expired at now. It costs O(n) for n
// leases in that range.
func (t *Table) Active(first, last netip.Addr, now time.Time) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := 0
	t.walk(t.root, num(first), num(last), func(r *row) {
		if r.expires > nanos(now) {
			n++
		}
	})
	return n
}

// Unused gives the lowest address from first to last that has no lease at all, not even an expired one;
// false when there is none.
func (t *Table) Unused(first, last netip.Addr) (netip.Addr, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a := t.gap(num(first))
	if a > uint64(num(last)) {
		return netip.Addr{}, false
	}
	return address(uint32(a)), true
}

// OldestExpired gives, of the leases of addresses from first to last that have expired at now, the one that
// expired first; of equals the lowest address. Addresses for which skip returns true are passed over; nil
// skips none. It is called with the table locked and must not use it. The cost is O(log n) for each one that
// is passed over.
func (t *Table) OldestExpired(first, last netip.Addr, now time.Time, skip func(netip.Addr) bool) (Lease, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := search{first: num(first), last: num(last), now: nanos(now), skip: skip}
	t.oldest(t.root, &s)
	if s.found == 0 {
		return Lease{}, false
	}
	return t.rows[s.found].lease(), true
}

// nanos is t as the rows keep it. The zero time, for which UnixNano is not defined, comes before all others.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return math.MinInt64
	}
	return t.UnixNano()
}

// num is the IPv4 address a as a number, 0 for anything else.
func num(a netip.Addr) uint32 {
	if a = a.Unmap(); !a.Is4() {
		return 0
	}
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
