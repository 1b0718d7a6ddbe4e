package dhcp6

import (
	"context"
	"log/slog"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// batch answers what one read of a port gave. It is used again for the next one.
type batch struct {
	requests []*Request
	hosts    []Host
	// now holds the answers that need no lease, later those that wait for the commit.
	now, later []answer
	out        []outgoing
	sent       []*answer // for each of out
}

// run decodes the packets, asks the policy, decides in one pass, and sends: first what depends on no lease, then,
// after one durable commit for all, the rest.
func (b *batch) run(ctx context.Context, s *Server, p port, in []datagram) {
	s.metrics.batch.Observe(float64(len(in)))
	l := p.link()
	s.mu.Lock()
	s.links[l.name] = l // its addresses may have changed
	s.mu.Unlock()
	b.read(s, l, in)
	b.ask(ctx, s)

	s.mu.Lock()
	b.decide(ctx, s, p)
	s.mu.Unlock()
	b.tell(ctx, s, b.now)
	b.tell(ctx, s, b.later)
}

// read decodes the packets; broken ones are counted and forgotten.
func (b *batch) read(s *Server, l link, in []datagram) {
	b.requests = b.requests[:0]
	for _, d := range in {
		if d.truncated {
			s.metrics.drop(dropTruncated)
			continue
		}
		r, err := parse(d)
		if err != nil {
			s.metrics.drop(err)
			continue
		}
		s.locate(r, l)
		s.metrics.request(r.Type)
		b.requests = append(b.requests, r)
	}
}

// ask gets the policy's word for each message that it has a say in, without holding any lock.
func (b *batch) ask(ctx context.Context, s *Server) {
	b.hosts = b.hosts[:0]
	for _, r := range b.requests {
		var h Host
		switch r.Type {
		case dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		default:
			if r.Subnet != nil && (r.message.Options.ServerID() == nil || s.isMe(r)) && !r.unicast() {
				h = s.policy().Host(ctx, r)
			}
		}
		b.hosts = append(b.hosts, h)
	}
}

// decide answers the messages in their order. s.mu must be held.
func (b *batch) decide(ctx context.Context, s *Server, p port) {
	d := s.newRound()
	b.now, b.later = b.now[:0], b.later[:0]
	for i, r := range b.requests {
		if a := d.decide(r, b.hosts[i]); a.commits {
			b.later = append(b.later, a)
		} else {
			b.now = append(b.now, a)
		}
	}
	b.send(s, p, b.now)
	if len(d.leases) > 0 {
		b.commit(ctx, d)
	}
	b.send(s, p, b.later)
}

// commit makes the leases of the batch durable. If that fails, all that depend on it get silence.
func (b *batch) commit(ctx context.Context, d *round) {
	puts, deletes := d.lists()
	start := time.Now()
	err := d.Server.commit(ctx, puts, deletes)
	d.metrics.commit.Observe(time.Since(start).Seconds())
	if err == nil {
		return
	}
	d.metrics.commitErrors.Inc()
	d.complain("commit", "leases could not be made durable: nobody gets a Reply until they can", "leases", len(puts), "err", err)
	for i, a := range b.later {
		b.later[i] = silence(a.req, dropCommit)
	}
}

// send sends the replies of answers. s.mu must be held.
func (b *batch) send(s *Server, p port, answers []answer) {
	b.out, b.sent = b.out[:0], b.sent[:0]
	for i := range answers {
		a := &answers[i]
		if a.kind == dhcpv6.MessageTypeNone {
			continue
		}
		data := a.build()
		if data == nil {
			*a = silence(a.req, dropTooLarge)
			continue
		}
		o := outgoing{data: data, to: a.route()}
		if to := a.req.to; to.IsValid() && !to.IsMulticast() {
			o.from = to
		}
		b.out, b.sent = append(b.out, o), append(b.sent, a)
	}
	for i, err := range p.send(b.out) {
		if a := b.sent[i]; err != nil {
			s.complain("send "+p.link().name, "a reply could not be sent", "interface", p.link().name, "client", a.req.Key, "to", b.out[i].to, "err", err)
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
			log.Debug("dhcp6: "+string(e.Kind), "type", a.req.Type, "mac", a.req.MAC, "client", a.req.Key, "address", e.Addr, "file", e.File,
				"reason", e.Reason, "interface", a.req.Interface, "subnet", a.req.Subnet.prefix(), "arch", a.req.Arch(), "ipxe", a.req.IPXE)
		}
		if s.Observe == nil {
			continue
		}
		if a.req.Type == dhcpv6.MessageTypeSolicit {
			s.Observe(Event{Kind: Solicited, Time: now, Request: a.req})
		}
		s.Observe(e)
	}
}
