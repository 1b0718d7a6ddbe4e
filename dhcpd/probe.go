package dhcpd

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"muster/dhcpd/lease"
)

// A DISCOVER is answered in the same pass as hundreds of others, which an answer to an ARP probe cannot be waited for in.
// So each link keeps a few addresses in stock that nobody answered for a moment ago, and offers those. A storm that
// empties the stock gets silence, while as many more are probed: clients ask again after a second or more, and find them.
const (
	// probeStock is how many addresses of a subnet are kept: a rack that is switched on.
	probeStock = 32
	// probeMost is how many are asked for at once, in a storm.
	probeMost = 256
	// probeTimes and probeWait are how often and how long is waited for an answer. Machines on a link answer within
	// milliseconds; RFC 5227 §1.1 has a client take 5 s and more, which is longer than a ROM's patience.
	probeTimes = 2
	probeWait  = 200 * time.Millisecond
	// freshTime is how long an address stays in stock. With a full stock it makes two packets in four seconds.
	freshTime = 2 * time.Minute
	// reopenTime is the pause before an interface that failed is tried again.
	reopenTime = 2 * time.Second
)

// prober looks who uses the free addresses of one link (RFC 5227 §2.1), and hears who uses those that are leased.
type prober struct {
	*Server
	name string
	kick chan struct{} // there is something to do

	// Of the embedded Server's mu:
	working bool // while it is not, addresses are offered unseen
	sound   bool // it has done so since it began anew
	stocks  map[*Subnet]*stock

	asked struct {
		sync.Mutex                          // guards all below; mu may not be held
		who        map[netip.Addr]lease.MAC // addresses that are asked for, and who answered
	}
}

// stock has the addresses of a subnet that nobody answered for.
type stock struct {
	fresh []probed
	want  int         // machines that found none since the last look
	none  bool        // and there was none to look at
	hits  []time.Time // when an address turned out to be in use
}

type probed struct {
	addr netip.Addr
	at   time.Time
}

func newProber(s *Server, name string) *prober {
	return &prober{Server: s, name: name, kick: make(chan struct{}, 1)}
}

// run probes until ctx ends. Where it cannot, it says so once, and tries again.
func (p *prober) run(ctx context.Context, open func(iface string) (arpWire, error)) {
	for first := true; ctx.Err() == nil; first = false {
		wire, err := open(p.name)
		if err == nil {
			err = p.watch(ctx, wire)
		}
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		worked := p.sound
		p.working, p.sound = false, false
		p.mu.Unlock()
		if worked || first {
			p.log().Warn("dhcpd: cannot look for addresses that are in use; they are offered unseen until it goes again", "interface", p.name, "err", err)
		}
		sleep(ctx, reopenTime)
	}
}

// watch probes on wire until ctx ends or the wire fails. It closes wire.
func (p *prober) watch(ctx context.Context, wire arpWire) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var hearing sync.WaitGroup
	hearing.Go(func() { cancel(p.hear(wire)) }) // ends when wire is closed
	defer hearing.Wait()
	shut := sync.OnceFunc(func() { _ = wire.close() })
	defer shut()
	defer context.AfterFunc(ctx, shut)() // an ask may wait for room in a queue
	for {
		batch, next := p.pick()
		if err := p.probe(ctx, wire, batch); err != nil {
			return err
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-p.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pick chooses the addresses to ask for, and says when to look again.
func (p *prober) pick() (batch []candidate, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &round{Server: p.Server, now: p.now(), change: new(change)}
	d.begin(p.Leases)
	d.offers.expire(d.now)
	l := p.links[p.name]
	p.arrange(&l)
	next = freshTime
	for n, s := range p.stocks {
		s.tidy(d, n)
		if s.doubtful(n, d.now) {
			continue
		}
		more := min(probeStock-len(s.fresh)+s.want, probeMost)
		held := map[netip.Addr]struct{}{}
		for _, f := range s.fresh {
			held[f.addr] = struct{}{}
			next = min(next, freshTime-d.now.Sub(f.at))
		}
		s.want = 0
		found := d.candidates(n, more, held)
		s.none = len(found)+len(s.fresh) == 0
		for _, a := range found {
			batch = append(batch, candidate{a, n})
		}
	}
	p.working = true
	return batch, max(next, time.Second)
}

// candidate is an address that is asked for.
type candidate struct {
	addr   netip.Addr
	subnet *Subnet
}

// arrange makes a stock for each subnet of the link. p.mu is held.
func (p *prober) arrange(l *link) {
	if p.stocks == nil {
		p.stocks = map[*Subnet]*stock{}
	}
	for i := range p.Subnets {
		n := &p.Subnets[i]
		if _, ok := p.stocks[n]; !ok && n.Range.First.IsValid() && l.in(n).IsValid() {
			p.stocks[n] = new(stock)
		}
	}
}

// probe asks for all of batch, and puts those that nobody answered for into stock.
func (p *prober) probe(ctx context.Context, wire arpWire, batch []candidate) error {
	if len(batch) == 0 {
		return nil
	}
	who := make(map[netip.Addr]lease.MAC, len(batch))
	for _, c := range batch {
		who[c.addr] = lease.MAC{}
	}
	p.ask(who)
	defer p.ask(nil)
	for range probeTimes {
		for _, c := range batch {
			if err := wire.ask(c.addr); err != nil {
				return err
			}
		}
		if sleep(ctx, probeWait); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	p.ask(nil)
	p.file(context.WithoutCancel(ctx), batch, who)
	return nil
}

// ask has answers noted in who; nil forgets them.
func (p *prober) ask(who map[netip.Addr]lease.MAC) {
	p.asked.Lock()
	defer p.asked.Unlock()
	p.asked.who = who
}

// file puts the addresses of batch where they belong: in stock, or in quarantine.
func (p *prober) file(ctx context.Context, batch []candidate, who map[netip.Addr]lease.MAC) {
	now := p.now()
	var taken []Event
	p.mu.Lock()
	p.sound = true
	for _, c := range batch {
		s := p.stocks[c.subnet]
		if l, ok := p.Leases.ByAddr(c.addr); p.offers.taken(c.addr, lease.MAC{}) || ok && l.Active(now) {
			continue // it was given to somebody meanwhile, by a relay or because he had it before
		}
		if who[c.addr] == (lease.MAC{}) {
			s.fresh = append(s.fresh, probed{c.addr, now})
			continue
		}
		if s.hits = append(s.hits, now); s.doubtful(c.subnet, now) {
			p.complain("doubt "+p.name, "too many free addresses are answered for, as by a router with proxy ARP: they are offered unseen",
				"interface", p.name, "subnet", c.subnet.Prefix, "by", who[c.addr])
			continue
		}
		taken = append(taken, Event{Kind: Conflict, Time: now, Addr: c.addr, Interface: p.name, Other: who[c.addr]})
	}
	p.quarantine(ctx, taken, now)
	p.mu.Unlock()
	for _, e := range taken {
		p.conflict(e, "an address of the range is in use: nobody gets it for now")
	}
}

// quarantine keeps addresses from everybody, as a DECLINE does. p.mu is held.
func (p *prober) quarantine(ctx context.Context, taken []Event, now time.Time) {
	if len(taken) == 0 {
		return
	}
	var c change
	c.begin(p.Leases)
	for _, e := range taken {
		c.put(lease.Lease{MAC: lease.Quarantine(e.Addr), Addr: e.Addr, Expires: now.Add(quarantineTime), Declined: true})
	}
	puts, deletes := c.lists()
	if err := p.commit(ctx, puts, deletes); err != nil {
		p.complain("commit", "a quarantine could not be made durable", "interface", p.name, "err", err)
	}
}

// conflict tells everybody of an address that is in use by a machine that it does not belong to.
func (p *prober) conflict(e Event, msg string) {
	p.metrics.conflicts.Inc()
	args := []any{"address", e.Addr, "by", e.Other, "interface", e.Interface}
	if e.MAC != (lease.MAC{}) {
		args = append(args, "mac", e.MAC)
	}
	p.log().Warn("dhcpd: "+msg, args...)
	if p.Observe != nil {
		p.Observe(e)
	}
}

// hear notes who uses which address, until wire fails or is closed.
func (p *prober) hear(wire arpWire) error {
	for {
		a, err := wire.hear()
		if err != nil {
			return err
		}
		if at := a.uses(); at.IsValid() {
			p.heard(at, a.mac, !a.from.IsValid())
		}
	}
}

// heard notes that a machine uses a, or is about to.
func (p *prober) heard(a netip.Addr, mac lease.MAC, aboutTo bool) {
	p.asked.Lock()
	_, ok := p.asked.who[a]
	if ok {
		p.asked.who[a] = mac
	}
	p.asked.Unlock()
	l, leased := p.Leases.ByAddr(a)
	now := p.now()
	leased = leased && l.Active(now)
	if ok || leased && (l.MAC == mac || l.Declined || aboutTo) {
		return // a machine that probes an address of another will find out by itself
	}
	p.mu.Lock()
	for _, s := range p.stocks {
		s.remove(a) // somebody took it
	}
	told := !leased || now.Sub(p.conflicts[a]) < quarantineTime
	if !told {
		if len(p.conflicts) >= maxRemembered {
			clear(p.conflicts)
		}
		p.conflicts[a] = now
	}
	p.mu.Unlock()
	if !told {
		p.conflict(Event{Kind: Conflict, Time: now, Addr: a, Interface: p.name, MAC: l.MAC, Other: mac},
			"a machine uses the address that is lent to another one")
	}
}

// maxRemembered bounds the conflicts that were told, and the machines that wait.
const maxRemembered = 1024
