package dhcpd

import (
	"net/netip"
	"slices"
	"time"

	"muster/dhcpd/lease"
)

// prober gives the one of r's link, if addresses are probed there: not behind a relay, where nobody hears ARP. (An ICMP
// echo would get there, but machines filter it, routers take a second to say that nobody is there, and its silence proves
// nothing: a machine that finds its address in use declines it.) s.mu is held.
func (s *Server) prober(r *Request) *prober {
	p := s.probers[r.Interface]
	if p == nil || !p.working || r.Relay.IsValid() || r.probe() {
		return nil
	}
	return p
}

// of gives the stock that addresses of n must come from; nil if they are given unseen. p may be nil.
func (p *prober) of(n *Subnet, now time.Time) *stock {
	if p == nil {
		return nil
	}
	if s := p.stocks[n]; s != nil && !s.doubtful(n, now) {
		return s
	}
	return nil
}

// take gives an address out of stock to the machine m; zero if there is none.
func (p *prober) take(d *round, n *Subnet, m lease.MAC) netip.Addr {
	s := p.stocks[n]
	s.tidy(d, n)
	for i, f := range s.fresh {
		if d.available(f.addr, n, m) {
			s.fresh = slices.Delete(s.fresh, i, i+1)
			if len(s.fresh) < probeStock/2 {
				p.wake()
			}
			return f.addr
		}
	}
	return netip.Addr{}
}

// await notes that the machine m waits for addresses to be probed. It reports false if there is none to probe.
func (p *prober) await(subnets []*Subnet, m lease.MAC, now time.Time) bool {
	p.wake()
	waits := false
	for _, n := range subnets {
		if s := p.of(n, now); s != nil && !s.none {
			s.want++
			waits = true
		}
	}
	if waits {
		if len(p.waiting) >= maxRemembered {
			clear(p.waiting)
		}
		p.waiting[m] = struct{}{}
	}
	return waits
}

func (p *prober) wake() {
	select {
	case p.kick <- struct{}{}:
	default: // it knows already
	}
}

// tidy throws away what is old, or was given to somebody.
func (s *stock) tidy(d *round, n *Subnet) {
	s.fresh = slices.DeleteFunc(s.fresh, func(f probed) bool {
		return d.now.Sub(f.at) >= freshTime || !d.available(f.addr, n, lease.MAC{})
	})
}

// has reports whether a is in stock.
func (s *stock) has(a netip.Addr) bool {
	return slices.ContainsFunc(s.fresh, func(f probed) bool { return f.addr == a })
}

func (s *stock) remove(a netip.Addr) {
	s.fresh = slices.DeleteFunc(s.fresh, func(f probed) bool { return f.addr == a })
}

// doubtful reports whether so many addresses were answered for lately that it cannot be true: more than a quarter of the
// range, and more than a handful. Somebody who answers for everything must not take the whole range away.
func (s *stock) doubtful(n *Subnet, now time.Time) bool {
	s.hits = slices.DeleteFunc(s.hits, func(t time.Time) bool { return now.Sub(t) >= quarantineTime })
	return len(s.hits) > max(4, n.Range.size()/4)
}

// candidates gives up to most addresses of n to probe, but none of held, in the order in which they would be offered.
func (d *round) candidates(n *Subnet, most int, held map[netip.Addr]struct{}) (out []netip.Addr) {
	fits := func(a netip.Addr) bool {
		_, ok := held[a]
		return !ok && d.open(a, n, lease.MAC{})
	}
	for len(out) < most {
		a := d.unusedWhere(n, fits)
		if !a.IsValid() {
			l, ok := d.table.OldestExpired(n.Range.First, n.Range.Last, d.now, func(a netip.Addr) bool { return !fits(a) })
			if !ok {
				break
			}
			a = l.Addr
		}
		out = append(out, a)
		held[a] = struct{}{}
	}
	return out
}
