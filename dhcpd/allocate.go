package dhcpd

import (
	"net/netip"
	"time"

	"muster/dhcpd/lease"
)

// round is one batch while it is decided.
type round struct {
	*Server
	now time.Time
	*change
}

// fixed is the address that the policy gives to r, with its subnet; zero for none. One that does not belong
// where the machine is, or that a client found in use, does not count: the machine gets a dynamic address, so
// that it comes up and can be looked at.
func (d *round) fixed(r *Request, h Host) (netip.Addr, *Subnet) {
	if !h.Address.IsValid() {
		return netip.Addr{}, nil
	}
	n := subnetOf(r.subnets, h.Address)
	if n == nil || !n.usable(h.Address) || d.isOurs(h.Address) {
		d.complain("fixed "+r.MAC.String(), "the machine's fixed address is not of its network; it gets a dynamic one",
			"mac", r.MAC, "address", h.Address, "subnet", r.Subnet.Prefix, "interface", r.Interface)
		return netip.Addr{}, nil
	}
	if l, ok := d.byAddr(h.Address); ok && l.Declined && l.Active(d.now) {
		d.complain("fixed "+r.MAC.String(), "the machine's fixed address is in use by somebody else; it gets a dynamic one for now",
			"mac", r.MAC, "address", h.Address)
		return netip.Addr{}, nil
	}
	return h.Address, n
}

// available reports whether the machine m may have a dynamically.
func (d *round) available(a netip.Addr, n *Subnet, m lease.MAC) bool {
	if !n.Range.Contains(a) || !d.open(a, n, m) {
		return false
	}
	l, ok := d.byAddr(a)
	return !ok || l.MAC == m || !l.Active(d.now)
}

// open is available without a look at the leases.
func (d *round) open(a netip.Addr, n *Subnet, m lease.MAC) bool {
	return n.usable(a) && !d.offers.taken(a, m) && !d.isOurs(a) && !d.policy().Reserved(a)
}

// choose finds the address to offer to r, which has no fixed one: the one it was offered or had before; the one that
// it asks for; one that nobody ever had; the one that expired first (RFC 2131 §4.3.1). Zero if there is none.
func (d *round) choose(r *Request) (netip.Addr, *Subnet) {
	had, _ := d.byMAC(r.MAC)
	p := d.prober(r)
	for i, a := range [...]netip.Addr{d.offers.to(r.MAC), had.Addr, r.Requested} {
		n := subnetOf(r.subnets, a)
		if n == nil || !d.available(a, n, r.MAC) {
			continue
		}
		if s := p.of(n, d.now); s != nil && i == 2 {
			if !s.has(a) {
				continue // it is but a wish
			}
			s.remove(a)
		}
		return a, n
	}
	for _, n := range r.subnets {
		a := netip.Addr{}
		if p.of(n, d.now) != nil {
			a = p.take(d, n, r.MAC)
		} else {
			a = d.unused(n, r.MAC)
		}
		if a.IsValid() {
			return a, n
		}
	}
	for _, n := range r.subnets {
		if p.of(n, d.now) != nil {
			continue
		}
		skip := func(a netip.Addr) bool { return !d.open(a, n, r.MAC) || d.changed(a) }
		if l, ok := d.table.OldestExpired(n.Range.First, n.Range.Last, d.now, skip); ok {
			return l.Addr, n
		}
	}
	return netip.Addr{}, nil
}

// changed reports whether this batch does something to a's lease, so that the table is not right about it.
func (d *round) changed(a netip.Addr) bool {
	_, put := d.addrs[a]
	return put
}

// unused finds an address of n's range for the machine m that has no lease.
func (d *round) unused(n *Subnet, m lease.MAC) netip.Addr {
	return d.unusedWhere(n, func(a netip.Addr) bool { return !d.changed(a) && d.open(a, n, m) })
}

// unusedWhere finds an address of n's range that has no lease and fits, going round the range: an address that was
// given back is the last to be given again.
func (d *round) unusedWhere(n *Subnet, fits func(netip.Addr) bool) netip.Addr {
	if !n.Range.First.IsValid() {
		return netip.Addr{}
	}
	start, ok := d.cursor[n]
	if !ok || !n.Range.Contains(start) {
		start = n.Range.First
	}
	if a := d.unusedFrom(start, n.Range.Last, n, fits); a.IsValid() {
		return a
	}
	if start == n.Range.First {
		return netip.Addr{}
	}
	return d.unusedFrom(n.Range.First, start.Prev(), n, fits)
}

func (d *round) unusedFrom(first, last netip.Addr, n *Subnet, fits func(netip.Addr) bool) netip.Addr {
	for !last.Less(first) {
		a, ok := d.table.Unused(first, last)
		if !ok {
			break
		}
		first = a.Next()
		if fits(a) {
			d.cursor[n] = first
			return a
		}
	}
	return netip.Addr{}
}

// subnetOf finds the one of subnets that a lies in; nil for none.
func subnetOf(subnets []*Subnet, a netip.Addr) *Subnet {
	for _, n := range subnets {
		if n.Prefix.Contains(a) {
			return n
		}
	}
	return nil
}
