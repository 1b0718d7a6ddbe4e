package dhcpd

import (
	"context"
	"log/slog"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// batch answers what one read of a port gave. It is used again for the next one, with all its memory.
type batch struct {
	pool     []Request // of which requests has those that are well-formed
	requests []*Request
	names    names
	hosts    []Host
	mine     []bool // which requests the policy has a say in
	// now holds the answers that need no lease, later those that wait for the commit.
	now, later []answer
	change     change
	out        []outgoing
	arena      []byte    // of the packets in out
	sent       []*answer // for each of out
}

// run decodes the packets, asks the policy, decides in one pass, and sends: first what depends on no lease,
// then, after one durable commit for all, the rest.
func (b *batch) run(ctx context.Context, s *Server, p port, in []datagram) {
	s.metrics.batch.Observe(float64(len(in)))
	l := p.link()
	s.mu.Lock()
	s.links[l.name] = l // its addresses may have changed
	s.mu.Unlock()
	b.read(s, l, in)
	b.ask(ctx, s)
	s.mu.Lock()
	b.decide(ctx, s, p, &l)
	s.mu.Unlock()
	b.tell(ctx, s, b.now)
	b.tell(ctx, s, b.later)
}

// decide answers the requests in their order. s.mu must be held.
func (b *batch) decide(ctx context.Context, s *Server, p port, l *link) {
	now := s.now()
	s.offers.expire(now)
	b.change.begin(s.Leases)
	d := &round{Server: s, now: now, change: &b.change}
	b.now, b.later = b.now[:0], b.later[:0]
	for i, r := range b.requests {
		if a := d.decide(r, b.hosts[i]); a.needsLease() {
			b.later = append(b.later, a)
		} else {
			b.now = append(b.now, a)
		}
	}
	b.send(s, p, b.now)
	b.tap(s, l, b.now)
	if !d.empty() {
		b.commit(ctx, d)
	}
	b.send(s, p, b.later)
	b.tap(s, l, b.later)
}

// tap shows answers to who traces: those that send has just sent, in b.out, and the silent.
func (b *batch) tap(s *Server, l *link, answers []answer) {
	if s.Tap == nil {
		return
	}
	sent := 0
	for i := range answers {
		var o *outgoing
		if sent < len(b.sent) && b.sent[sent] == &answers[i] {
			o = &b.out[sent]
			sent++
		}
		s.tapAnswer(l, &answers[i], o)
	}
}

// needsLease reports whether a is true only once the leases of its batch are durable.
func (a *answer) needsLease() bool {
	switch a.req.Type {
	case dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDiscover: // that is rapid commit
		return !a.direct && a.kind == dhcpv4.MessageTypeAck
	case dhcpv4.MessageTypeNone:
		return a.kind == bootReply
	case dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline:
		return a.why == ""
	default:
		return false
	}
}

// read decodes the packets; broken ones are counted and forgotten.
func (b *batch) read(s *Server, l link, in []datagram) {
	if b.names == nil {
		b.names = names{}
	}
	if len(b.pool) < len(in) {
		b.pool = make([]Request, max(len(in), batchSize))
	}
	b.requests = b.requests[:0]
	for i := range in {
		d, r := &in[i], &b.pool[i]
		if d.truncated {
			s.metrics.drop(dropTruncated)
			s.tapIn(&l, d, string(dropTruncated))
			continue
		}
		if why := r.parse(d.data, b.names); why != "" {
			s.metrics.drop(why)
			s.tapIn(&l, d, string(why))
			continue
		}
		r.datagram = d
		s.locate(r, &l, d.to)
		s.metrics.request(r.Type)
		b.requests = append(b.requests, r)
	}
}

// ask gets the policy's word for each request that may be answered, without holding any lock.
func (b *batch) ask(ctx context.Context, s *Server) {
	s.mu.Lock()
	b.mine = b.mine[:0]
	for _, r := range b.requests {
		b.mine = append(b.mine, s.concerns(r))
	}
	s.mu.Unlock()
	policy := s.policy()
	b.hosts = b.hosts[:0]
	for i, r := range b.requests {
		var h Host
		if b.mine[i] {
			h = policy.Host(ctx, r)
		}
		b.hosts = append(b.hosts, h)
	}
}

// concerns reports whether r is one that the policy has a say in. s.mu must be held.
func (s *Server) concerns(r *Request) bool {
	if r.Subnet == nil || r.probe() || r.Type == dhcpv4.MessageTypeDecline || r.Type == dhcpv4.MessageTypeRelease {
		return false
	}
	if s.Proxy || r.pxe {
		return r.Boots()
	}
	return !s.elsewhere(r)
}

// commit makes the leases of the batch durable. If that fails, all that depend on it get silence.
func (b *batch) commit(ctx context.Context, d *round) {
	puts, deletes := d.lists()
	start := time.Now()
	err := d.Server.commit(ctx, puts, deletes)
	d.metrics.commit.Observe(time.Since(start).Seconds())
	if err == nil {
		for _, l := range puts {
			d.offers.drop(l.MAC)
		}
		return
	}
	d.metrics.commitErrors.Inc()
	d.complain("commit", "leases could not be made durable: nobody gets an ACK until they can", "leases", len(puts), "err", err)
	for i, a := range b.later {
		b.later[i] = silence(a.req, dropCommit)
	}
}

// send sends the replies of answers. s.mu must be held.
func (b *batch) send(s *Server, p port, answers []answer) {
	b.out, b.sent, b.arena = b.out[:0], b.sent[:0], b.arena[:0]
	for i := range answers {
		a := &answers[i]
		if a.kind == dhcpv4.MessageTypeNone {
			continue
		}
		start := len(b.arena)
		frame, fits := a.build(append(b.arena, zeros[:ipSize]...))
		if !fits {
			*a = silence(a.req, dropTooLarge)
			continue
		}
		b.arena = frame
		frame = frame[start:len(frame):len(frame)]
		to, raw := a.route()
		o := outgoing{data: frame[ipSize:], from: a.req.Server, to: to}
		if raw {
			o.raw, o.frame = a.req.MAC, frame
		}
		b.out, b.sent = append(b.out, o), append(b.sent, a)
	}
	if len(b.out) == 0 {
		return
	}
	for i, err := range p.send(b.out) {
		if a := b.sent[i]; err != nil {
			s.complain("send "+p.link().name, "a reply could not be sent", "interface", p.link().name, "mac", a.req.MAC, "to", b.out[i].to, "err", err)
			*a = silence(a.req, dropSend)
		}
	}
}

// tell counts, logs and reports what became of answers.
func (b *batch) tell(ctx context.Context, s *Server, answers []answer) {
	now := s.now()
	log := s.log()
	debug := log.Enabled(ctx, slog.LevelDebug)
	for i := range answers {
		a := &answers[i]
		s.metrics.answer(a)
		e := a.event(now)
		if debug {
			log.Debug("dhcpd: "+string(e.Kind), "mac", a.req.MAC, "address", e.Addr, "file", e.File, "reason", e.Reason,
				"interface", a.req.Interface, "subnet", a.req.Subnet.prefix(), "arch", a.req.Arch(), "ipxe", a.req.IPXE)
		}
		// Nobody is told of a machine that is not let in: who makes up MACs must not fill anybody's lists.
		if s.Observe == nil || a.req.probe() || a.why == string(dropNewcomer) {
			continue
		}
		if a.req.Type == dhcpv4.MessageTypeDiscover {
			s.Observe(Event{Kind: Discover, Time: now, Request: a.req})
		}
		s.Observe(e)
	}
}
