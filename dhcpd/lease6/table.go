package lease6

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Table is the index of all leases. The zero value is an empty table, ready for use by any number of goroutines.
type Table struct {
	mu      sync.RWMutex // guards all below
	keys    map[Key]Lease
	addrs   map[netip.Addr]Key
	unknown int
}

// Apply deletes the leases of deletes, then writes puts in their order. A put replaces the lease that its holder
// had, and also the lease that another one had of its address. Whoever keeps leases on disk has to delete the
// displaced holder there in the same commit. A lease without a key or an IPv6 address is ignored.
func (t *Table) Apply(puts []Lease, deletes []Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys, t.addrs = make(map[Key]Lease, len(puts)), make(map[netip.Addr]Key, len(puts))
	}
	for _, k := range deletes {
		t.drop(k)
	}
	for _, l := range puts {
		if l.Key == "" || !l.Addr.Is6() || l.Addr.Is4In6() {
			continue
		}
		l.Addr = l.Addr.WithZone("")
		t.drop(t.addrs[l.Addr])
		t.drop(l.Key)
		t.keys[l.Key], t.addrs[l.Addr] = l, l.Key
		if l.Unknown {
			t.unknown++
		}
	}
}

func (t *Table) drop(k Key) {
	l, ok := t.keys[k]
	if !ok {
		return
	}
	delete(t.keys, k)
	delete(t.addrs, l.Addr)
	if l.Unknown {
		t.unknown--
	}
}

// ByKey gives the lease of a holder, expired or not; false without one.
func (t *Table) ByKey(k Key) (Lease, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.keys[k]
	return l, ok
}

// ByAddr gives the lease of an address, expired or not; false without one.
func (t *Table) ByAddr(a netip.Addr) (Lease, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.keys[t.addrs[a.WithZone("")]]
	return l, ok
}

// Len is the number of leases, expired ones included. It costs O(1).
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.keys)
}

// Unknown is the number of leases with that mark, expired ones included. It costs O(1).
func (t *Table) Unknown() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.unknown
}

// All gives every lease, expired ones included, in the order of their addresses. It costs O(n log n).
func (t *Table) All() []Lease {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]Lease, 0, len(t.keys))
	for _, l := range t.keys {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return out
}

// Expired gives the holders whose leases have expired at a time, of the longest ago first. It costs O(n log n).
func (t *Table) Expired(at time.Time) (out []Key) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for k, l := range t.keys {
		if !l.Active(at) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b Key) int {
		return cmp.Or(t.keys[a].Expires.Compare(t.keys[b].Expires), cmp.Compare(a, b))
	})
	return out
}
