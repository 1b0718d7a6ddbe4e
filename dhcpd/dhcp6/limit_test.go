package dhcp6

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

// TestUnknownRate: unknown machines come no faster than the limit, and known ones always do.
func TestUnknownRate(t *testing.T) {
	k := mac(1_000_000)
	b := newBench(t, func(s *Server) { s.UnknownRate, s.Policy = 2, known{k} })
	for i := range 20 {
		b.must(machine(i), machine(i).message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply)
	}
	late := machine(20)
	b.must(late, late.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise) // an offer costs nothing
	b.silent(late, late.message(dhcpv6.MessageTypeRequest), dropLimited)
	had := machine(3)
	b.must(had, had.message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply)
	b.lease(client{mac: k, duid: duidUUID(1)})
	// Ever new DUIDs do not make a known MAC more than one machine.
	spoof := client{mac: k, duid: duidLL(mac(99))}
	b.silent(spoof, spoof.message(dhcpv6.MessageTypeRequest), dropLimited)
	b.clock = b.clock.Add(500 * time.Millisecond)
	b.must(late, late.message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply)
}

// TestStorm: 20,000 random MACs, and a known machine still boots, and memory stays bounded.
func TestStorm(t *testing.T) {
	k := mac(1_000_000)
	b := newBench(t, func(s *Server) { s.MaxUnknown, s.UnknownRate, s.Policy = 1000, 1e6, known{k} })
	for i := range 20_000 {
		b.run(machine(i).packet(machine(i).message(dhcpv6.MessageTypeRequest)))
	}
	if n := b.Leases.Len(); n != 1000 {
		t.Errorf("%d leases, want 1000", n)
	}
	c := machine(30_000)
	for _, kind := range []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest} {
		if r := b.ask(c, c.message(kind)); r == nil || statusOf(r) != iana.StatusNoAddrsAvail {
			t.Errorf("one too many: %v", r)
		}
	}
	b.lease(client{mac: k, duid: duidUUID(1)})
	b.clock = b.clock.Add(2 * time.Hour) // their leases have expired
	b.lease(c)
	if n := b.Leases.Len(); n > 10 {
		t.Errorf("%d leases after all have expired", n)
	}
}

// TestDeclineStorm: a client that declines everything does not make the table grow.
func TestDeclineStorm(t *testing.T) {
	b := newBench(t, func(s *Server) { s.MaxUnknown, s.UnknownRate = 50, 1e6 })
	c := machine(1)
	for range 500 {
		r := b.must(c, c.message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply)
		if a := addrOf(t, r); a.IsValid() {
			b.must(c, c.message(dhcpv6.MessageTypeDecline, a), dhcpv6.MessageTypeReply)
		}
	}
	if n := b.Leases.Len(); n > 50 {
		t.Errorf("%d leases", n)
	}
}

// TestSmallRange: every address of a small range is used, none twice, and the rest is told.
func TestSmallRange(t *testing.T) {
	small := Subnet{Prefix: rackNet.Prefix, Range: Range{netip.MustParseAddr("fd77::1"), netip.MustParseAddr("fd77::14")},
		DNS: []netip.Addr{netip.MustParseAddr("fd77::2")}}
	b := newBench(t, func(s *Server) { s.Subnets = []Subnet{small} })
	seen := map[netip.Addr]bool{}
	for i := range 18 { // of 20, one is ours and one the name server's
		r := b.must(machine(i), machine(i).message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply)
		a := addrOf(t, r)
		if !a.IsValid() || seen[a] || a == ours || a == small.DNS[0] {
			t.Errorf("machine %d got %s", i, a)
		}
		seen[a] = true
	}
	c := machine(18)
	if r := b.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise); statusOf(r) != iana.StatusNoAddrsAvail {
		t.Errorf("got %s", r.Summary())
	}
	for a := range seen { // one is given back
		l, _ := b.Leases.ByAddr(a)
		m, _ := l.Key.MAC()
		old := client{mac: m, duid: duidUUID(0), iaid: m[5]}
		b.must(old, old.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply)
		break
	}
	if r := b.must(c, c.message(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply); !addrOf(t, r).IsValid() {
		t.Errorf("after a release: %s", r.Summary())
	}
}

// TestCommit: no Reply is sent before its lease is durable, none if it cannot be, and others do not wait.
func TestCommit(t *testing.T) {
	var b *bench
	var fail error
	var sent int // before the commit
	b = newBench(t, func(s *Server) {
		s.Leases = new(lease6.Table)
		s.Commit = func(_ context.Context, puts []lease6.Lease, deletes []lease6.Key) error {
			sent = len(b.wire.out)
			if fail == nil {
				s.Leases.Apply(puts, deletes)
			}
			return fail
		}
	})
	one, two := machine(1), machine(2)
	in := []datagram{one.packet(one.message(dhcpv6.MessageTypeRequest)), two.packet(two.message(dhcpv6.MessageTypeSolicit))}
	if out := b.run(in...); len(out) != 2 || sent != 1 {
		t.Errorf("%d replies, %d of them before the commit; want 2 and 1", len(out), sent)
	}
	fail = errors.New("disk full")
	three := machine(3)
	b.silent(three, three.message(dhcpv6.MessageTypeRequest), dropCommit)
	b.silent(one, one.message(dhcpv6.MessageTypeRelease, b.Leases.All()[0].Addr), dropCommit)
	if l := b.Leases.All(); len(l) != 1 || !l[0].Active(b.clock) {
		t.Errorf("leases %v", l)
	}
	fail = nil
	b.lease(three)
}

// TestBatch: machines of one batch get different addresses, also where there are few.
func TestBatch(t *testing.T) {
	b := newBench(t, func(s *Server) {
		s.Subnets = []Subnet{{Prefix: rackNet.Prefix, Range: Range{netip.MustParseAddr("fd77::100"), netip.MustParseAddr("fd77::10f")}}}
	})
	var in []datagram
	for i := range 20 {
		in = append(in, machine(i).packet(machine(i).message(dhcpv6.MessageTypeRequest)))
	}
	given := map[netip.Addr]bool{}
	for _, o := range b.run(in...) {
		m, err := dhcpv6.MessageFromBytes(o.data)
		if err != nil {
			t.Fatal(err)
		}
		if a := addrOf(t, m); a.IsValid() {
			if given[a] {
				t.Errorf("%s was given twice", a)
			}
			given[a] = true
		}
	}
	if len(given) != 16 || b.Leases.Len() != 16 {
		t.Errorf("%d addresses, %d leases; want 16", len(given), b.Leases.Len())
	}
}

// TestIgnore: the policy's last word.
func TestIgnore(t *testing.T) {
	b := newBench(t, func(s *Server) { s.Policy = ignore(mac(1)) })
	b.silent(machine(1), machine(1).message(dhcpv6.MessageTypeSolicit), dropIgnored)
	b.lease(machine(2))
}

type ignore lease.MAC

func (m ignore) Host(_ context.Context, r *Request) Host { return Host{Ignore: r.MAC == lease.MAC(m)} }
