package dhcp6

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease6"
)

// TestFourMessages: Solicit, Advertise, Request, Reply, and what they say.
func TestFourMessages(t *testing.T) {
	b := newBench(t, nil)
	c := machine(1)
	a := b.lease(c)
	l, ok := b.Leases.ByKey(lease6.ByMAC(c.mac))
	if !ok || l.Addr != a || !l.Expires.Equal(start.Add(time.Hour)) || !l.Unknown {
		t.Errorf("the table has %+v", l)
	}
	r := b.must(c, c.message(dhcpv6.MessageTypeRequest, a), dhcpv6.MessageTypeReply)
	o := r.Options
	if got := o.GetOne(dhcpv6.OptionServerID).ToBytes(); !slices.Equal(got, duidLL(serverMAC)) {
		t.Errorf("server identifier % x", got)
	}
	if got := o.GetOne(dhcpv6.OptionClientID).ToBytes(); !slices.Equal(got, c.duid) {
		t.Errorf("client identifier % x", got)
	}
	ia := o.OneIANA()
	if ia.IaId[3] != c.iaid || ia.T1 != 30*time.Minute || ia.T2 != 48*time.Minute || ia.Options.OneAddress().ValidLifetime != time.Hour {
		t.Errorf("IA_NA %v", ia)
	}
	if len(o.DNS()) != 1 || o.DomainSearchList() == nil || o.DomainSearchList().Labels[0] != "rack.example" {
		t.Errorf("DNS %v, search %v", o.DNS(), o.DomainSearchList())
	}
	if o.BootFileURL() != "" || o.Preference() != 0 {
		t.Errorf("an operating system was told to boot %q, preference %d", o.BootFileURL(), o.Preference())
	}
}

func TestRapidCommit(t *testing.T) {
	b := newBench(t, nil)
	c := machine(1)
	c.opts = []dhcpv6.Option{&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}}
	r := b.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeReply)
	if r.GetOneOption(dhcpv6.OptionRapidCommit) == nil || !addrOf(t, r).IsValid() || b.Leases.Len() != 1 {
		t.Errorf("got %s, %d leases", r.Summary(), b.Leases.Len())
	}
	// Where nothing can be committed, the client is told as if it had asked in four messages.
	full := newBench(t, func(s *Server) { s.MaxUnknown = 1 })
	full.lease(machine(2))
	r = full.must(c, c.message(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise)
	if statusOf(r) != iana.StatusNoAddrsAvail || r.GetOneOption(dhcpv6.OptionRapidCommit) != nil {
		t.Errorf("got %s", r.Summary())
	}
}

// TestRenew: a lease is prolonged, other addresses are taken back, and a lease that was lost is made again.
func TestRenew(t *testing.T) {
	stray := netip.MustParseAddr("fd77::abcd:1")
	for _, kind := range []dhcpv6.MessageType{dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind} {
		b := newBench(t, nil)
		c := machine(1)
		a := b.lease(c)
		b.clock = start.Add(30 * time.Minute)
		r := b.must(c, c.message(kind, stray, a), dhcpv6.MessageTypeReply)
		if addrOf(t, r) != a || !slices.Equal(withdrawn(r), []netip.Addr{stray}) {
			t.Errorf("%s: %s", kind, r.Summary())
		}
		if l, _ := b.Leases.ByAddr(a); !l.Expires.Equal(b.clock.Add(time.Hour)) {
			t.Errorf("%s: the lease ends %s", kind, l.Expires)
		}
		lost := newBench(t, nil) // a disk was lost: whoever has an address keeps it
		if r := lost.must(c, c.message(kind, stray), dhcpv6.MessageTypeReply); addrOf(t, r) != stray {
			t.Errorf("%s after a loss: %s", kind, r.Summary())
		}
		other := machine(2) // but not two of them
		if r := lost.must(other, other.message(kind, stray), dhcpv6.MessageTypeReply); addrOf(t, r) == stray || !slices.Equal(withdrawn(r), []netip.Addr{stray}) {
			t.Errorf("%s of another's address: %s", kind, r.Summary())
		}
	}
	b, c, elsewhere := newBench(t, nil), machine(1), netip.MustParseAddr("fd99::1")
	if r := b.must(c, c.message(dhcpv6.MessageTypeRenew, elsewhere), dhcpv6.MessageTypeReply); statusOf(r) != iana.StatusNoBinding {
		t.Errorf("renewed elsewhere: %s", r.Summary())
	}
	b.silent(c, c.message(dhcpv6.MessageTypeRebind, elsewhere), dropElsewhere)
}

func TestConfirm(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	for _, x := range []struct {
		addrs []string
		want  iana.StatusCode
	}{
		{[]string{"fd77::5"}, iana.StatusSuccess},
		{[]string{"fd77::5", "fd78::5"}, iana.StatusNotOnLink}, // of ours, but on another link
	} {
		var addrs []netip.Addr
		for _, a := range x.addrs {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if r := b.must(c, c.message(dhcpv6.MessageTypeConfirm, addrs...), dhcpv6.MessageTypeReply); statusOf(r) != x.want {
			t.Errorf("%v: %s", x.addrs, r.Summary())
		}
	}
	b.silent(c, c.message(dhcpv6.MessageTypeConfirm), dropNoIA)
	if b.Leases.Len() != 0 {
		t.Error("Confirm made a lease")
	}
}

// TestRelease: the address is free, and the same when the machine comes back.
func TestRelease(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	a := b.lease(c)
	other := machine(2)
	if r := b.must(other, other.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply); statusOf(r) != iana.StatusNoBinding {
		t.Errorf("released another's: %s", r.Summary())
	}
	if l, _ := b.Leases.ByAddr(a); !l.Active(b.clock) {
		t.Fatal("another machine ended the lease")
	}
	if r := b.must(c, c.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply); statusOf(r) != iana.StatusSuccess {
		t.Errorf("released: %s", r.Summary())
	}
	if l, _ := b.Leases.ByAddr(a); l.Active(b.clock) {
		t.Error("the lease is active")
	}
	if again := b.lease(c); again != a {
		t.Errorf("got %s, had %s", again, a)
	}
}

// TestReleaseShared: the address stays the machine's until the last of its programs gave it back.
func TestReleaseShared(t *testing.T) {
	b, driver := newBench(t, nil), machine(1)
	stack := driver
	stack.iaid = 99
	a := b.lease(driver)
	if again := b.lease(stack); again != a {
		t.Fatalf("got %s and %s", a, again)
	}
	active := func() bool { l, _ := b.Leases.ByAddr(a); return l.Active(b.clock) }
	for range 2 { // a Release is repeated when its Reply was lost
		if r := b.must(stack, stack.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply); statusOf(r) != iana.StatusSuccess || !active() {
			t.Errorf("released by one of two: %s, active %v", r.Summary(), active())
		}
	}
	b.must(driver, driver.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply)
	if active() || len(b.sharers) != 0 {
		t.Errorf("released by both: active %v, %d sharers", active(), len(b.sharers))
	}
	b.lease(driver) // who never releases does not keep it for good
	b.clock = b.clock.Add(50 * time.Minute)
	b.lease(stack)
	b.clock = b.clock.Add(20 * time.Minute)
	if b.must(stack, stack.message(dhcpv6.MessageTypeRelease, a), dhcpv6.MessageTypeReply); active() {
		t.Error("kept for one whose lifetime is over")
	}
}

// TestDecline: nobody gets the address until the quarantine ends.
func TestDecline(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	a := b.lease(c)
	other := machine(2)
	b.must(other, other.message(dhcpv6.MessageTypeDecline, a), dhcpv6.MessageTypeReply)
	if again := b.lease(c); again != a {
		t.Fatalf("another machine could decline its address: got %s, had %s", again, a)
	}
	b.must(c, c.message(dhcpv6.MessageTypeDecline, a), dhcpv6.MessageTypeReply)
	second := b.lease(c)
	if second == a {
		t.Error("the declined address was given again")
	}
	if r := b.must(other, other.message(dhcpv6.MessageTypeRenew, a), dhcpv6.MessageTypeReply); addrOf(t, r) == a {
		t.Error("the declined address was given to who asked for it")
	}
	b.must(c, c.message(dhcpv6.MessageTypeRelease, second), dhcpv6.MessageTypeReply)
	b.clock = start.Add(quarantineTime + 2*time.Hour)
	if r := b.must(machine(3), machine(3).message(dhcpv6.MessageTypeRenew, a), dhcpv6.MessageTypeReply); addrOf(t, r) != a {
		t.Errorf("after the quarantine: %s", r.Summary())
	}
}

func TestInformationRequest(t *testing.T) {
	b := newBench(t, nil)
	c := machine(1)
	c.opts = []dhcpv6.Option{arch(7), vendorClass("PXEClient:Arch:00007")}
	r := b.must(c, c.message(dhcpv6.MessageTypeInformationRequest), dhcpv6.MessageTypeReply)
	if r.Options.BootFileURL() != "tftp://[fd77::1]/snponly.efi" || len(r.Options.DNS()) != 1 || r.Options.OneIANA() != nil {
		t.Errorf("got %s", r.Summary())
	}
	if got := r.Options.InformationRefreshTime(0); got != time.Hour {
		t.Errorf("refresh after %s", got)
	}
	if b.Leases.Len() != 0 {
		t.Error("Information-request made a lease")
	}
}

// TestNotOnLink: who asks for an address of another network has to start anew.
func TestNotOnLink(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	r := b.must(c, c.message(dhcpv6.MessageTypeRequest, netip.MustParseAddr("fd78::1001")), dhcpv6.MessageTypeReply)
	if statusOf(r) != iana.StatusNotOnLink || b.Leases.Len() != 0 {
		t.Errorf("got %s, %d leases", r.Summary(), b.Leases.Len())
	}
}

// TestManyIAs: one machine has one address, however many it asks for.
func TestManyIAs(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	m := c.message(dhcpv6.MessageTypeSolicit)
	for i := range 3 {
		m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{9, byte(i)}})
	}
	m.AddOption(&dhcpv6.OptIAPD{IaId: [4]byte{8}})
	m.AddOption(&dhcpv6.OptIATA{IaId: [4]byte{7}})
	r := b.must(c, m, dhcpv6.MessageTypeAdvertise)
	var given int
	for _, ia := range r.Options.IANA() {
		given += len(ia.Options.Addresses())
	}
	if given != 1 || len(r.Options.IANA()) != 4 {
		t.Errorf("%d addresses in %d IAs: %s", given, len(r.Options.IANA()), r.Summary())
	}
	if s := r.Options.OneIAPD().Options.Status(); s == nil || s.StatusCode != iana.StatusNoPrefixAvail {
		t.Errorf("IA_PD: %v", s)
	}
	for i := range 80 {
		m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{1, byte(i)}})
	}
	b.silent(c, m, dropTooLarge)
}

// TestUnicast: a client that unicasts is told not to (RFC 8415 §18.3.2 and on), or nothing at all.
func TestUnicast(t *testing.T) {
	b, c := newBench(t, nil), machine(1)
	for kind := range demands {
		d := c.packet(c.message(kind, netip.MustParseAddr("fd77::5")))
		d.to = ours
		out := b.run(d)
		if demands[kind].server <= 0 {
			if len(out) != 0 {
				t.Errorf("unicast %s was answered", kind)
			}
			continue
		}
		r, err := dhcpv6.MessageFromBytes(out[0].data)
		if err != nil || statusOf(r) != iana.StatusUseMulticast || out[0].from != ours {
			t.Errorf("unicast %s: %v, from %s, %v", kind, r, out[0].from, err)
		}
	}
	if b.Leases.Len() != 0 {
		t.Error("a unicast made a lease")
	}
}
