package dhcp6

import (
	"net/netip"
	"time"

	"muster/dhcpd/lease6"
)

const (
	// tries is how many computed addresses are looked at. With fewer leases than a twentieth of the range, which is
	// so in any prefix that is not tiny, all of them are taken once in 10^20 times.
	tries = 16
	// scanned is the largest range in which one address after the other is looked at when those are taken.
	scanned = 1 << 12
	// sweepEvery is how often at most expired leases are removed to make room.
	sweepEvery = time.Second
)

// available reports whether k may have a.
func (d *round) available(a netip.Addr, n *Subnet, k lease6.Key) bool {
	if !n.inRange(a) || d.isOurs(a) {
		return false
	}
	for _, dns := range n.DNS {
		if dns == a {
			return false
		}
	}
	l, ok := d.byAddr(a)
	return !ok || l.Key == k || !l.Active(d.now)
}

// choose finds the address for the client: the one that it has or had; of those that it says it has, one that is
// free (only if it renews, for that it may have had it from here before a disk was lost); one that is computed.
// Zero if there is none.
func (d *round) choose(r *Request, renews bool) (netip.Addr, *Subnet) {
	if had, ok := d.byKey(r.Key); ok {
		if n := subnetOf(r.subnets, had.Addr); n != nil && d.available(had.Addr, n, r.Key) {
			return had.Addr, n
		}
	}
	for _, a := range r.hints {
		if n := subnetOf(r.subnets, a); renews && n != nil && d.available(a, n, r.Key) {
			return a, n
		}
	}
	for _, n := range r.subnets {
		if a := d.compute(n, r.Key); a.IsValid() {
			return a, n
		}
	}
	return netip.Addr{}, nil
}

// compute finds an address of n for k; zero for none.
func (d *round) compute(n *Subnet, k lease6.Key) netip.Addr {
	for try := range tries {
		if a := n.pick(k, try); d.available(a, n, k) {
			return a
		}
	}
	size := n.size()
	if size > scanned || d.now.Before(d.full[n]) {
		return netip.Addr{}
	}
	first, _ := n.bounds()
	start := low(n.pick(k, 0)) - first
	for i := range size {
		if a := n.at(first + (start+i)%size); d.available(a, n, k) {
			return a
		}
	}
	// A storm of machines that find it full must not have it looked through for each of them.
	d.full[n] = d.now.Add(sweepEvery)
	return netip.Addr{}
}

// admit reports whether the client may have a lease that it does not have yet; why not is a drop, or empty if there
// is no room. Machines that are known, and leases that are there, always may.
func (d *round) admit(r *Request, h Host, n *Subnet) (ok bool, why drop) {
	if _, had := d.byKey(r.Key); had || h.known(r) {
		return true, ""
	}
	if d.crowded() {
		return false, ""
	}
	b := d.buckets[n]
	if b == nil {
		b = new(bucket)
		d.buckets[n] = b
	}
	if !b.take(d.now, d.unknownRate()) {
		return false, dropLimited
	}
	return true, ""
}

// known reports whether no limit holds for the client: a known MAC with ever new DUIDs is no known machine.
func (h Host) known(r *Request) bool {
	_, mac := r.Key.MAC()
	return h.Known && mac
}

// crowded reports whether there are as many unknown machines as there may be, when the expired leases are gone.
func (d *round) crowded() bool {
	if d.Leases.Unknown()+d.unknown < d.maxUnknown() {
		return false
	}
	if d.now.Before(d.swept) {
		return true
	}
	d.swept = d.now.Add(sweepEvery)
	for _, k := range d.Leases.Expired(d.now) {
		if l, ok := d.byKey(k); ok && !l.Active(d.now) {
			d.drop(k)
		}
	}
	return d.Leases.Unknown()+d.unknown >= d.maxUnknown()
}
