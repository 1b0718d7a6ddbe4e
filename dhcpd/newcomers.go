package dhcpd

import "time"

// Newcomers limits the machines that are new: those without a fixed address, that neither have nor had a lease
// and were offered none. Whoever makes up MACs cannot use up the server with them; machines that are known are
// answered as ever. The limits hold for each interface and, behind a relay that tells it, each circuit (option 82)
// by itself, so that one switch port does not spend those of the others.
type Newcomers struct {
	// Rate is how many are let in each second. Zero means 100, negative no limit: machines repeat themselves for
	// a minute, so that thousands that are switched on at once all come in, and a flood costs a hundredth of
	// what the server can do.
	Rate int
	// Burst is how many are let in at once after a pause. Zero means 1,000: a few racks that get power.
	Burst int
	// Total is how many are let in within the time of a lease. Zero means 4,096 for an interface and 256, a
	// full /24, for a circuit, which is a switch port or a VLAN; negative no limit.
	Total int
}

const (
	newRate, newBurst      = 100, 1000
	newTotal, circuitTotal = 4096, 256
	maxDoors               = 1024 // circuits; more of them share the limits of their interface
)

// door is where newcomers come in.
type door struct{ iface, circuit string }

// bucket is what was let in at a door.
type bucket struct {
	tokens float64
	filled time.Time
	count  int // since
	since  time.Time
}

type doors map[door]*bucket

// admits reports whether the machine that sent r, which has no fixed address, may have one of the range.
func (d *round) admits(r *Request) bool {
	if d.Newcomers.Rate < 0 && d.Newcomers.Total < 0 || d.offers.to(r.MAC).IsValid() || r.probe() {
		return true
	}
	if _, ok := d.byMAC(r.MAC); ok {
		return true
	}
	if _, ok := d.waiting[r.MAC]; ok { // it was let in, and asks again
		delete(d.waiting, r.MAC)
		return true
	}
	at := door{iface: r.Interface}
	if r.Relay.IsValid() { // a machine on the link could make them up
		at.circuit = r.Circuit
	}
	if d.doors == nil {
		d.doors = doors{}
	}
	b := d.doors[at]
	if b == nil && len(d.doors) >= maxDoors {
		at.circuit = ""
		b = d.doors[at]
	}
	n := d.Newcomers.filled(at)
	if b == nil {
		b = &bucket{tokens: float64(n.Burst), filled: d.now, since: d.now}
		d.doors[at] = b
	}
	if b.take(n, d.now, r.Subnet.lease()) {
		return true
	}
	d.complain("newcomers "+at.iface+" "+at.circuit, "more unknown machines than are let in: those that are known are answered",
		"interface", at.iface, "circuit", at.circuit, "mac", r.MAC)
	return false
}

// filled is n with its defaults for a door.
func (n Newcomers) filled(at door) Newcomers {
	if n.Rate == 0 {
		n.Rate = newRate
	}
	if n.Burst == 0 {
		n.Burst = newBurst
	}
	switch {
	case n.Total == 0 && at.circuit != "":
		n.Total = circuitTotal
	case n.Total == 0:
		n.Total = newTotal
	}
	return n
}

// take lets one in, if the limits n allow it.
func (b *bucket) take(n Newcomers, now time.Time, term time.Duration) bool {
	if now.Sub(b.since) >= term {
		b.since, b.count = now, 0
	}
	b.tokens = min(float64(n.Burst), b.tokens+max(0, now.Sub(b.filled).Seconds())*float64(n.Rate))
	b.filled = now
	if n.Total >= 0 && b.count >= n.Total || n.Rate >= 0 && b.tokens < 1 {
		return false
	}
	b.tokens--
	b.count++
	return true
}
