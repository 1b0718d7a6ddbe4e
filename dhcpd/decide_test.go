package dhcpd

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

func TestExchange(t *testing.T) {
	f := newFixture(t)
	a := f.bind(mac(1))
	if want := ip("10.77.0.100"); a != want {
		t.Errorf("address %s, want %s", a, want)
	}
	l, _ := f.Leases.ByMAC(mac(1))
	if want := (lease.Lease{MAC: mac(1), Addr: a, Expires: f.clock.Add(time.Hour)}); l != want {
		t.Errorf("lease %+v, want %+v", l, want)
	}
	var kinds []Kind
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	if want := []Kind{Discover, Offered, Acked}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

// TestOneAddress: ROM, iPXE and the operating system of one machine, each with its own client identifier.
func TestOneAddress(t *testing.T) {
	f := newFixture(t)
	id := func(b ...byte) dhcpv4.Modifier { return option(dhcpv4.OptionClientIdentifier, b...) }
	rom := f.bind(mac(1), id(0, 1, 2, 3), option(dhcpv4.OptionClassIdentifier, []byte("PXEClient")...))
	ipxe := f.bind(mac(1), id(1, 0x52, 0x54, 0, 0, 0, 1), option(dhcpv4.OptionUserClassInformation, []byte("iPXE")...))
	os := f.bind(mac(1), id(255, 1, 2, 3, 4, 0, 2))
	if rom != ipxe || rom != os {
		t.Errorf("ROM %s, iPXE %s, OS %s: want one address", rom, ipxe, os)
	}
	if other := f.bind(mac(2), id(0, 1, 2, 3)); other == rom {
		t.Errorf("another MAC with the same client identifier got %s as well", other)
	}
}

func TestOfferIsOnlyMemory(t *testing.T) {
	f := newFixture(t)
	a := f.offered(mac(1))
	if f.Leases.Len() != 0 {
		t.Error("an offer wrote a lease")
	}
	if again := f.offered(mac(1)); again != a {
		t.Errorf("second offer %s, want %s again", again, a)
	}
	if b := f.offered(mac(2), askFor(a)); b == a {
		t.Errorf("%s was offered twice", b)
	}
	f.clock = f.clock.Add(offerTime + time.Second)
	if b := f.offered(mac(3), askFor(a)); b != a {
		t.Errorf("offer %s after the first one ended, want %s", b, a)
	}
}

func TestRequestStates(t *testing.T) {
	a, wrong := ip("10.77.0.100"), ip("192.168.1.7")
	for _, tt := range []struct {
		name string
		p    *dhcpv4.DHCPv4
		nak  string
	}{
		{"selecting", selecting(mac(1), a), ""},
		{"init-reboot", initReboot(mac(1), a), ""},
		{"renewing", renewing(mac(1), a), ""},
		{"rebinding", rebinding(mac(1), a), ""},
		{"init-reboot in the wrong network", initReboot(mac(1), wrong), nakSubnet},
		{"rebinding in the wrong network", rebinding(mac(1), wrong), nakSubnet},
		{"init-reboot of another address", initReboot(mac(1), ip("10.77.0.150")), nakLeased},
		{"init-reboot outside of the range", initReboot(mac(1), ip("10.77.0.50")), nakTaken},
		{"init-reboot of another's address", initReboot(mac(2), a), nakTaken},
		{"renewing another's address", renewing(mac(2), a), nakTaken},
		{"selecting another's address", selecting(mac(2), a), nakTaken},
		{"the network's address", initReboot(mac(3), ip("10.77.0.0")), nakTaken},
		{"the server's own address", initReboot(mac(3), server), nakTaken},
		{"unknown but free", initReboot(mac(3), ip("10.77.0.180")), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.bind(mac(1))
			f.clock = f.clock.Add(20 * time.Minute)
			if tt.nak != "" {
				f.refused(tt.p, tt.nak)
				if l, _ := f.Leases.ByMAC(mac(1)); l.Addr != a {
					t.Errorf("the lease is %+v after a NAK", l)
				}
				return
			}
			want := addr(tt.p.RequestedIPAddress())
			if !want.IsValid() {
				want = a
			}
			f.acked(tt.p, want)
			if l, _ := f.Leases.ByAddr(want); !l.Expires.Equal(f.clock.Add(time.Hour)) {
				t.Errorf("expires %s, want an hour from now", l.Expires)
			}
		})
	}
}

func TestOtherServer(t *testing.T) {
	f := newFixture(t)
	a := f.offered(mac(1))
	asked := false
	f.Policy = askedPolicy{&asked}
	f.none(message(mac(1), dhcpv4.MessageTypeRequest, askFor(a), chose(ip("10.77.0.9"))), dropOther)
	if asked {
		t.Error("the policy was asked about a machine that chose another server")
	}
	if b := f.offered(mac(2)); b == a {
		t.Error("the range does not go round")
	}
	if f.offers.taken(a, mac(2)) {
		t.Error("the offer was kept for a machine that chose another server")
	}
}

type askedPolicy struct{ asked *bool }

func (p askedPolicy) Host(context.Context, *Request) Host { *p.asked = true; return Host{} }
func (askedPolicy) Reserved(a netip.Addr) bool            { return false }

func TestFixed(t *testing.T) {
	f := newFixture(t)
	slot := ip("10.77.0.20")
	old := f.bind(mac(1)) // before anybody knew it
	f.Policy = fixedHosts{mac(1): {Address: slot, Hostname: "web-01"}}
	f.refused(renewing(mac(1), old), nakFixed)
	if a := f.bind(mac(1)); a != slot {
		t.Errorf("address %s, want the slot's %s", a, slot)
	}
	if l, _ := f.Leases.ByMAC(mac(1)); l.Hostname != "web-01" {
		t.Errorf("lease %+v, want the slot's name", l)
	}
	// A replacement takes over while the first machine's lease still runs.
	f.Policy = fixedHosts{mac(2): {Address: slot, Hostname: "web-01"}}
	if a := f.bind(mac(2)); a != slot {
		t.Errorf("replacement got %s, want %s", a, slot)
	}
	if l, ok := f.Leases.ByMAC(mac(1)); ok {
		t.Errorf("the replaced machine still has %+v", l)
	}
	f.refused(renewing(mac(1), slot), nakTaken)
	if a := f.bind(mac(1)); a == slot {
		t.Error("the replaced machine got the slot's address back")
	}
}

func TestFixedElsewhere(t *testing.T) {
	f := newFixture(t)
	f.Policy = fixedHosts{mac(1): {Address: ip("10.78.0.20")}, mac(2): {Address: server}, mac(3): {Address: ip("10.77.0.255")}}
	for i := range 3 {
		if a := f.bind(mac(i + 1)); !rackNet.Range.Contains(a) {
			t.Errorf("machine %d got %s, want a dynamic address", i+1, a)
		}
	}
}

func TestReservedIsNeverDynamic(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Range.Last = ip("10.77.0.102")
	f.Policy = fixedHosts{mac(99): {Address: ip("10.77.0.101")}}
	a, b := f.bind(mac(1)), f.bind(mac(2))
	if a != ip("10.77.0.100") || b != ip("10.77.0.102") {
		t.Errorf("got %s and %s around the reserved address", a, b)
	}
	f.none(discover(mac(3), askFor(ip("10.77.0.101"))), dropFull)
	f.refused(initReboot(mac(3), ip("10.77.0.101")), nakTaken)
}

func TestExpiredReuse(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Range.Last = ip("10.77.0.102")
	var addrs []netip.Addr
	for i := range 3 {
		addrs = append(addrs, f.bind(mac(i)))
		f.clock = f.clock.Add(time.Minute)
	}
	f.acked(renewing(mac(0), addrs[0]), addrs[0]) // now 1 is the one that expires first
	f.none(discover(mac(9)), dropFull)
	f.clock = f.clock.Add(2 * time.Hour)
	if a := f.offered(mac(0)); a != addrs[0] {
		t.Errorf("a machine that comes back got %s, want its old %s", a, addrs[0])
	}
	if a := f.bind(mac(9)); a != addrs[1] {
		t.Errorf("new machine got %s, want %s, which expired first", a, addrs[1])
	}
	if _, ok := f.Leases.ByMAC(mac(1)); ok {
		t.Error("the machine whose address went on still has a lease of it")
	}
	f.refused(initReboot(mac(1), addrs[1]), nakTaken)
}

func TestRelease(t *testing.T) {
	f := newFixture(t)
	a := f.bind(mac(1))
	f.none(release(mac(2), a), dropNotHolder)
	f.none(release(mac(1), ip("10.77.0.180")), dropNotHolder)
	if l, _ := f.Leases.ByMAC(mac(1)); !l.Active(f.clock) {
		t.Fatal("somebody else released the lease")
	}
	f.none(release(mac(1), a), "")
	if f.last().Kind != Released {
		t.Errorf("event %s, want released", f.last().Kind)
	}
	if l, _ := f.Leases.ByMAC(mac(1)); l.Active(f.clock) {
		t.Error("the lease goes on")
	}
	if b := f.bind(mac(2)); b == a {
		t.Error("a released address was given to the next machine though there are unused ones")
	}
	if b := f.bind(mac(1)); b != a {
		t.Errorf("back again: %s, want %s", b, a)
	}
}

func TestDecline(t *testing.T) {
	f := newFixture(t)
	a := f.bind(mac(1))
	f.none(decline(mac(2), a), dropNotHolder)
	f.none(decline(mac(1), a), "")
	if f.last().Kind != Declined {
		t.Errorf("event %s, want declined", f.last().Kind)
	}
	if b := f.offered(mac(1), askFor(a)); b == a {
		t.Error("a declined address was offered again at once")
	}
	f.refused(initReboot(mac(3), a), nakTaken)
	f.clock = f.clock.Add(quarantineTime + time.Second)
	if b := f.offered(mac(3), askFor(a)); b != a {
		t.Errorf("after the quarantine: %s, want %s", b, a)
	}
}

func TestDeclineFixed(t *testing.T) {
	f := newFixture(t)
	slot := ip("10.77.0.20")
	f.Policy = fixedHosts{mac(1): {Address: slot}}
	f.bind(mac(1))
	f.none(decline(mac(1), slot), "")
	if a := f.bind(mac(1)); !rackNet.Range.Contains(a) {
		t.Errorf("got %s, want a dynamic address during the quarantine", a)
	}
	f.clock = f.clock.Add(quarantineTime + time.Second)
	if a := f.offered(mac(1)); a != slot {
		t.Errorf("got %s after the quarantine, want %s", a, slot)
	}
}

func TestInform(t *testing.T) {
	f := newFixture(t)
	p := f.one(inform(mac(1), ip("10.77.0.7")))
	if !p.YourIPAddr.IsUnspecified() || p.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
		t.Errorf("the answer to INFORM gives an address:\n%s", p.Summary())
	}
	if p.MessageType() != dhcpv4.MessageTypeAck || addr(p.Router()[0]) != rackNet.Router {
		t.Errorf("answer:\n%s", p.Summary())
	}
	if f.Leases.Len() != 0 {
		t.Error("INFORM wrote a lease")
	}
	f.none(message(mac(1), dhcpv4.MessageTypeInform), dropNoAddress)
}

func TestIgnore(t *testing.T) {
	f := newFixture(t)
	f.Policy = fixedHosts{mac(1): {Ignore: true}}
	f.none(discover(mac(1)), dropIgnored)
	f.none(selecting(mac(1), ip("10.77.0.100")), dropIgnored)
	f.bind(mac(2))
}

func TestRelay(t *testing.T) {
	f := newFixture(t)
	a := f.bind(mac(1), relayedBy(ip("10.78.0.1")))
	if !remoteNet.Range.Contains(a) {
		t.Errorf("got %s, want one of the relay's network", a)
	}
	// It renews by unicast, past the relay (RFC 2131 §4.3.2).
	f.acked(renewing(mac(1), a), a)
	f.bind(mac(2), relayedBy(ip("10.78.0.1")))
	f.none(discover(mac(3), relayedBy(ip("10.78.0.1"))), dropFull)
	f.none(discover(mac(3), relayedBy(ip("10.99.0.1"))), dropSubnet)
	// The machine moved to the rack.
	f.refused(initReboot(mac(1), a), nakSubnet)
	if b := f.bind(mac(1)); !rackNet.Range.Contains(b) {
		t.Errorf("got %s after it moved", b)
	}
}

// TestSharedLink: one link with two subnets.
func TestSharedLink(t *testing.T) {
	f := newFixture(t)
	l := f.link()
	l.addrs = append(l.addrs, netip.MustParsePrefix("10.78.0.2/24"))
	p := &sharedPort{f, l}
	f.Subnets[0].Range.Last = f.Subnets[0].Range.First
	f.Policy = fixedHosts{mac(9): {Address: ip("10.78.0.20")}}
	run := func(p port, d *dhcpv4.DHCPv4) netip.Addr {
		f.sent = nil
		f.batch.run(context.Background(), f.Server, p, []datagram{{data: d.ToBytes(), to: limitedBroadcast}})
		if len(f.sent) != 1 {
			t.Fatalf("%d replies, want 1", len(f.sent))
		}
		r, _ := dhcpv4.FromBytes(f.sent[0].data)
		return addr(r.YourIPAddr)
	}
	for m, want := range []string{"10.77.0.100", "10.78.0.100", "10.78.0.101"} {
		if a := run(p, discover(mac(m))); a != ip(want) {
			t.Errorf("machine %d got %s, want %s", m, a, want)
		}
	}
	if a := run(p, discover(mac(9))); a != ip("10.78.0.20") {
		t.Errorf("fixed address in the second subnet: got %s", a)
	}
}

type sharedPort struct {
	*fixture
	l link
}

func (p *sharedPort) link() link { return p.l }

// TestProbe: what Detect sends from another machine gets an offer, and leaves no trace.
func TestProbe(t *testing.T) {
	f := newFixture(t)
	asked := false
	f.Policy = askedPolicy{&asked}
	a := f.offered(mac(1), option(dhcpv4.OptionUserClassInformation, []byte(DetectorClass)...))
	if !rackNet.Range.Contains(a) || asked || len(f.events) != 0 {
		t.Errorf("offer %s, policy asked: %v, events %v", a, asked, f.events)
	}
}

// TestNoBoot: a machine that is not to boot gets its address and name, and nothing that its firmware takes for an offer
// to boot.
func TestNoBoot(t *testing.T) {
	f := newFixture(t)
	f.Policy = fixedHosts{mac(1): {Address: ip("10.77.0.20"), Hostname: "printer", NoBoot: true}}
	for _, client := range []dhcpv4.Modifier{biosROM, uefiX64, uefiHTTP, ipxe} {
		p := f.one(discover(mac(1), client))
		if addr(p.YourIPAddr) != ip("10.77.0.20") || p.HostName() != "printer" {
			t.Errorf("got %s as %q", p.YourIPAddr, p.HostName())
		}
		for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClassIdentifier, dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionBootfileName,
			dhcpv4.OptionTFTPServerName, dhcpv4.OptionEtherboot} {
			if p.Options.Has(code) {
				t.Errorf("it is told %s", code)
			}
		}
		if p.BootFileName != "" || !p.ServerIPAddr.IsUnspecified() {
			t.Errorf("it is told to load %q from %s", p.BootFileName, p.ServerIPAddr)
		}
	}
}

// TestRapidCommit: RFC 4039, two packets instead of four where the subnet allows it.
func TestRapidCommit(t *testing.T) {
	f := newFixture(t)
	quick := option(dhcpv4.OptionRapidCommit)
	if p := f.one(discover(mac(1), quick)); p.MessageType() != dhcpv4.MessageTypeOffer || p.Options.Has(dhcpv4.OptionRapidCommit) {
		t.Errorf("though it is off:\n%s", p.Summary())
	}
	f.Subnets[0].RapidCommit = true
	p := f.one(discover(mac(1), quick))
	a := addr(p.YourIPAddr)
	if p.MessageType() != dhcpv4.MessageTypeAck || !p.Options.Has(dhcpv4.OptionRapidCommit) || p.IPAddressLeaseTime(0) != time.Hour {
		t.Errorf("reply:\n%s", p.Summary())
	}
	if l, ok := f.Leases.ByMAC(mac(1)); !ok || l.Addr != a || f.last().Kind != Acked {
		t.Errorf("lease %+v, event %s", l, f.last().Kind)
	}
	if p := f.one(renewing(mac(1), a)); p.Options.Has(dhcpv4.OptionRapidCommit) {
		t.Error("rapid commit in the answer to a REQUEST")
	}
	if p := f.one(discover(mac(2))); p.MessageType() != dhcpv4.MessageTypeOffer {
		t.Errorf("%s for a machine that did not ask for it", p.MessageType())
	}
	if f.one(discover(mac(3), quick, option(dhcpv4.OptionUserClassInformation, []byte(DetectorClass)...))); f.Leases.Len() != 1 {
		t.Error("looking for servers took a lease")
	}
}

// TestRapidCommitHoldsBack: nothing before it is durable, and nothing for more strangers than are let in.
func TestRapidCommitHoldsBack(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].RapidCommit = true
	f.Newcomers = Newcomers{Total: 1}
	quick := option(dhcpv4.OptionRapidCommit)
	f.one(discover(mac(1), quick))
	if out := f.exchange(discover(mac(2), quick)); len(out) != 0 {
		t.Errorf("a stranger too many got:\n%s", out[0].Summary())
	}
	f.Policy = fixedHosts{mac(3): {Address: ip("10.77.0.20")}}
	f.Commit = func(context.Context, []lease.Lease, []lease.MAC) error { return errDiskFull }
	f.none(discover(mac(3), quick), dropCommit)
}
