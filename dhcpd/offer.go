package dhcpd

import (
	"net/netip"
	"time"

	"muster/dhcpd/lease"
)

// offerTime is how long an offered address waits for its REQUEST. Clients collect offers for a few seconds
// and retransmit the REQUEST after 4, 8 and 16 (RFC 2131 §4.1).
const offerTime = 30 * time.Second

// offer is an address that was promised to a machine, in memory only: a server that is restarted before the
// REQUEST comes finds the address free and grants it.
type offer struct {
	mac   lease.MAC
	addr  netip.Addr
	until time.Time
}

// offers keeps two machines from being offered one address. Its size is bounded by the addresses of the
// ranges and the fixed ones.
type offers struct {
	byMAC  map[lease.MAC]offer
	byAddr map[netip.Addr]lease.MAC
	// queue holds all of them, and some that have been replaced since, in the order in which they end.
	queue []offer
}

// put promises addr to mac for at least half of offerTime. What mac was promised before, and who else was promised addr, is forgotten.
func (o *offers) put(mac lease.MAC, addr netip.Addr, now time.Time) {
	if o.byMAC == nil {
		o.byMAC = map[lease.MAC]offer{}
		o.byAddr = map[netip.Addr]lease.MAC{}
	}
	if f := o.byMAC[mac]; f.addr == addr && f.until.Sub(now) > offerTime/2 {
		return // so that a machine that repeats itself does not make the queue long
	}
	o.drop(mac)
	if other, ok := o.byAddr[addr]; ok {
		o.drop(other)
	}
	f := offer{mac, addr, now.Add(offerTime)}
	o.byMAC[mac], o.byAddr[addr] = f, mac
	o.queue = append(o.queue, f)
}

func (o *offers) drop(mac lease.MAC) {
	if f, ok := o.byMAC[mac]; ok {
		delete(o.byMAC, mac)
		delete(o.byAddr, f.addr)
	}
}

// expire forgets the offers that have ended at now.
func (o *offers) expire(now time.Time) {
	for len(o.queue) > 0 && !o.queue[0].until.After(now) {
		if f := o.queue[0]; o.byMAC[f.mac] == f {
			o.drop(f.mac)
		}
		o.queue = o.queue[1:]
	}
}

// to gives the address that mac was promised; zero for none.
func (o *offers) to(mac lease.MAC) netip.Addr { return o.byMAC[mac].addr }

// taken reports whether addr is promised to a machine other than mac.
func (o *offers) taken(addr netip.Addr, mac lease.MAC) bool {
	other, ok := o.byAddr[addr]
	return ok && other != mac
}
