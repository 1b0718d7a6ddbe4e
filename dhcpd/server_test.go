package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(n int) lease.MAC { return lease.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// rackNet is the subnet of most tests, remoteNet one behind a relay.
var (
	rackNet = Subnet{Prefix: netip.MustParsePrefix("10.77.0.0/24"), Range: Range{ip("10.77.0.100"), ip("10.77.0.199")},
		Router: ip("10.77.0.1"), DNS: []netip.Addr{ip("10.77.0.1"), ip("10.77.0.2")}, Domain: "rack.example"}
	remoteNet = Subnet{Prefix: netip.MustParsePrefix("10.78.0.0/24"), Range: Range{ip("10.78.0.100"), ip("10.78.0.101")}, Router: ip("10.78.0.1")}
	server    = ip("10.77.0.1")
)

// fixture is a server with a clock and a port in memory.
type fixture struct {
	*testing.T
	*Server
	clock  time.Time
	events []Event
	sent   []outgoing
	batch  batch
	broken error // of every send
	pxe    bool  // it is the boot server's port
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{T: t, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	f.Server = &Server{
		Subnets:   []Subnet{rackNet, remoteNet},
		Now:       func() time.Time { return f.clock },
		Observe:   func(e Event) { e.Request = e.Request.clone(); f.events = append(f.events, e) },
		FileURL:   func(r *Request, file string) string { return fmt.Sprintf("http://%s:8080/boot/%s", r.Server, file) },
		ScriptURL: func(r *Request) string { return fmt.Sprintf("http://%s:8080/ipxe?mac=%s", r.Server, r.MAC) },
	}
	f.init()
	return f
}

// clone is r as it may be kept.
func (r *Request) clone() *Request {
	if r == nil {
		return nil
	}
	c := *r
	c.Archs, c.msg, c.datagram = slices.Clone(r.Archs), msg{}, nil
	return &c
}

// The fixture is its own port: eth1 with the server's address.
func (f *fixture) link() link {
	return link{name: "eth1", index: 2, mac: mac(0xffffff), addrs: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24")}, pxe: f.pxe}
}
func (f *fixture) read() ([]datagram, error) { return nil, net.ErrClosed }
func (f *fixture) interrupt()                {}
func (f *fixture) close() error              { return nil }
func (f *fixture) send(out []outgoing) []error {
	for _, o := range out {
		o.data, o.frame = slices.Clone(o.data), slices.Clone(o.frame) // they are used again
		f.sent = append(f.sent, o)
	}
	errs := make([]error, len(out))
	for i := range errs {
		errs[i] = f.broken
	}
	return errs
}

// exchange hands packets to the server as one batch, and gives its replies.
func (f *fixture) exchange(packets ...*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
	f.Helper()
	var in []datagram
	for _, p := range packets {
		to := limitedBroadcast
		if relayed := !p.GatewayIPAddr.IsUnspecified(); relayed || unicasts(p) {
			to = server
		}
		in = append(in, datagram{data: p.ToBytes(), to: to})
	}
	f.sent = nil
	f.batch.run(context.Background(), f.Server, f, in)
	var out []*dhcpv4.DHCPv4
	for _, o := range f.sent {
		p, err := dhcpv4.FromBytes(o.data)
		if err != nil {
			f.Fatalf("reply: %v", err)
		}
		out = append(out, p)
	}
	return out
}

// unicasts: a client that renews or releases talks to the server alone.
func unicasts(p *dhcpv4.DHCPv4) bool {
	return !p.ClientIPAddr.IsUnspecified() && !p.Options.Has(dhcpv4.GenericOptionCode(224)) // see rebinding
}

// one expects exactly one reply.
func (f *fixture) one(p *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	f.Helper()
	out := f.exchange(p)
	if len(out) != 1 {
		f.Fatalf("%d replies to %s, want 1 (last event %+v)", len(out), p.MessageType(), f.last())
	}
	return out[0]
}

// none expects silence, for a reason.
func (f *fixture) none(p *dhcpv4.DHCPv4, why drop) {
	f.Helper()
	if out := f.exchange(p); len(out) != 0 {
		f.Fatalf("reply to %s, want silence:\n%s", p.MessageType(), out[0].Summary())
	}
	if e := f.last(); why != "" && (e.Kind != Silent || e.Reason != string(why)) {
		f.Errorf("silence as %s for %q, want %q", e.Kind, e.Reason, why)
	}
}

func (f *fixture) last() Event {
	if len(f.events) == 0 {
		return Event{}
	}
	return f.events[len(f.events)-1]
}

// offered expects an offer for m and gives its address.
func (f *fixture) offered(m lease.MAC, mods ...dhcpv4.Modifier) netip.Addr {
	f.Helper()
	p := f.one(discover(m, mods...))
	if p.MessageType() != dhcpv4.MessageTypeOffer {
		f.Fatalf("%s, want OFFER", p.MessageType())
	}
	return addr(p.YourIPAddr)
}

// acked expects an ACK of a for p.
func (f *fixture) acked(p *dhcpv4.DHCPv4, a netip.Addr) {
	f.Helper()
	if got := f.one(p); got.MessageType() != dhcpv4.MessageTypeAck || addr(got.YourIPAddr) != a {
		f.Fatalf("%s of %s (%s), want ACK of %s", got.MessageType(), got.YourIPAddr, got.Message(), a)
	}
}

// refused expects a NAK for p.
func (f *fixture) refused(p *dhcpv4.DHCPv4, why string) {
	f.Helper()
	if got := f.one(p); got.MessageType() != dhcpv4.MessageTypeNak || got.Message() != why {
		f.Fatalf("%s (%q), want NAK (%q)", got.MessageType(), got.Message(), why)
	}
}

// bind makes a whole exchange for m and gives its address.
func (f *fixture) bind(m lease.MAC, mods ...dhcpv4.Modifier) netip.Addr {
	f.Helper()
	a := f.offered(m, mods...)
	f.acked(selecting(m, a, mods...), a)
	return a
}

func message(m lease.MAC, t dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithMessageType(t), dhcpv4.WithHwAddr(m[:]),
		dhcpv4.WithTransactionID([4]byte{1, 2, m[4], m[5]})}, mods...)...)
	if err != nil {
		panic(err)
	}
	return p
}

func option(code dhcpv4.OptionCode, v ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(code, v)
}

func askFor(a netip.Addr) dhcpv4.Modifier {
	return option(dhcpv4.OptionRequestedIPAddress, a.AsSlice()...)
}

func chose(server netip.Addr) dhcpv4.Modifier {
	return option(dhcpv4.OptionServerIdentifier, server.AsSlice()...)
}

func relayedBy(a netip.Addr) dhcpv4.Modifier { return dhcpv4.WithGatewayIP(a.AsSlice()) }

func discover(m lease.MAC, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeDiscover, mods...)
}

func selecting(m lease.MAC, a netip.Addr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeRequest, append(mods, askFor(a), chose(server))...)
}

func initReboot(m lease.MAC, a netip.Addr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeRequest, append(mods, askFor(a))...)
}

func renewing(m lease.MAC, a netip.Addr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeRequest, append(mods, dhcpv4.WithClientIP(a.AsSlice()))...)
}

// rebinding is marked by a site-specific option, so that exchange broadcasts it.
func rebinding(m lease.MAC, a netip.Addr) *dhcpv4.DHCPv4 {
	return renewing(m, a, option(dhcpv4.GenericOptionCode(224), 1))
}

func release(m lease.MAC, a netip.Addr) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(a.AsSlice()), chose(server))
}

func decline(m lease.MAC, a netip.Addr) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeDecline, askFor(a), chose(server))
}

func inform(m lease.MAC, a netip.Addr, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return message(m, dhcpv4.MessageTypeInform, append(mods, dhcpv4.WithClientIP(a.AsSlice()))...)
}

// fixedHosts is the Policy that knows machines by a map.
type fixedHosts map[lease.MAC]Host

func (p fixedHosts) Host(_ context.Context, r *Request) Host { return p[r.MAC] }
func (p fixedHosts) Reserved(a netip.Addr) bool {
	for _, h := range p {
		if h.Address == a {
			return true
		}
	}
	return false
}

var errDiskFull = errors.New("no space left on device")
