package dhcp6

import (
	"net/netip"
	"time"

	"muster/dhcpd/lease6"
)

// round is one batch while it is decided: the leases as they will be when it is committed.
type round struct {
	*Server
	now     time.Time
	leases  map[lease6.Key]*lease6.Lease // what changes; nil is deleted
	holders map[netip.Addr]lease6.Key    // who gets an address in this batch; empty is nobody
	unknown int                          // how many more there are
}

func (s *Server) newRound() *round {
	return &round{Server: s, now: s.now(), leases: map[lease6.Key]*lease6.Lease{}, holders: map[netip.Addr]lease6.Key{}}
}

// byKey gives the lease of a holder as it will be.
func (d *round) byKey(k lease6.Key) (lease6.Lease, bool) {
	if l, changed := d.leases[k]; changed {
		if l == nil {
			return lease6.Lease{}, false
		}
		return *l, true
	}
	return d.Leases.ByKey(k)
}

// byAddr gives the lease of an address as it will be.
func (d *round) byAddr(a netip.Addr) (lease6.Lease, bool) {
	k, changed := d.holders[a]
	if !changed {
		l, ok := d.Leases.ByAddr(a)
		if !ok {
			return lease6.Lease{}, false
		}
		k = l.Key
	}
	l, ok := d.byKey(k)
	return l, ok && l.Addr == a
}

func (d *round) put(l lease6.Lease) {
	if old, ok := d.byAddr(l.Addr); ok && old.Key != l.Key {
		d.drop(old.Key)
	}
	d.drop(l.Key)
	d.leases[l.Key], d.holders[l.Addr] = &l, l.Key
	if l.Unknown {
		d.unknown++
	}
}

func (d *round) drop(k lease6.Key) {
	l, ok := d.byKey(k)
	if !ok {
		return
	}
	d.leases[k], d.holders[l.Addr] = nil, ""
	if l.Unknown {
		d.unknown--
	}
}

// lists is what has to be committed.
func (d *round) lists() (puts []lease6.Lease, deletes []lease6.Key) {
	for k, l := range d.leases {
		if l == nil {
			deletes = append(deletes, k)
		} else {
			puts = append(puts, *l)
		}
	}
	return puts, deletes
}
