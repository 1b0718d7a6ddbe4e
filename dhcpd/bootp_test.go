package dhcpd

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// bootp is a request of a machine that knows no DHCP, as large as RFC 951 has it.
func bootp(m lease.MAC, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return discover(m, append(mods, dhcpv4.WithoutOption(dhcpv4.OptionDHCPMessageType))...)
}

// TestBOOTP: a fixed address for who has one, a dynamic one only where the subnet lends it.
func TestBOOTP(t *testing.T) {
	f := newFixture(t)
	slot := Host{Address: ip("10.77.0.20"), Hostname: "printer", BootFile: "printer.bin"}
	f.Policy = fixedHosts{mac(1): slot}
	p := f.one(bootp(mac(1)))
	if addr(p.YourIPAddr) != slot.Address || p.HostName() != "printer" || addr(p.Router()[0]) != rackNet.Router {
		t.Errorf("reply:\n%s", p.Summary())
	}
	if p.BootFileName != "printer.bin" || addr(p.ServerIPAddr) != server {
		t.Errorf("file %q from %s", p.BootFileName, p.ServerIPAddr)
	}
	for _, c := range []dhcpv4.OptionCode{dhcpv4.OptionDHCPMessageType, dhcpv4.OptionServerIdentifier, dhcpv4.OptionIPAddressLeaseTime,
		dhcpv4.OptionRenewTimeValue, dhcpv4.OptionOptionOverload} {
		if p.Options.Has(c) {
			t.Errorf("%s in an answer to BOOTP (RFC 1534 §2)", c)
		}
	}
	if n := len(f.sent[0].data); n != bootpSize {
		t.Errorf("%d bytes, want %d", n, bootpSize)
	}
	if l, ok := f.Leases.ByMAC(mac(1)); !ok || l.Addr != slot.Address || f.last().Kind != Acked {
		t.Errorf("lease %+v, event %s", l, f.last().Kind)
	}
	f.none(bootp(mac(2)), dropBOOTP)
	f.Subnets[0].BOOTP = 48 * time.Hour
	a := addr(f.one(bootp(mac(2))).YourIPAddr)
	if l, _ := f.Leases.ByMAC(mac(2)); !rackNet.Range.Contains(a) || !l.Expires.Equal(f.clock.Add(48*time.Hour)) {
		t.Errorf("%s, lease %+v", a, l)
	}
	if again := addr(f.one(bootp(mac(2))).YourIPAddr); again != a {
		t.Errorf("again: %s, want %s", again, a)
	}
	// Machine 3 speaks DHCP once it is up: still one address.
	if b := f.bind(mac(2)); b != a {
		t.Errorf("by DHCP %s, want %s", b, a)
	}
}

// TestBOOTPSize: 64 bytes of vendor area, unless the machine sent more.
func TestBOOTPSize(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].BOOTP = time.Hour
	f.Subnets[0].Domain = "a.domain.that.does.not.fit.into.the.vendor.area.of.old.example"
	p := f.one(bootp(mac(1)))
	if n := len(f.sent[0].data); n != bootpSize || p.DomainName() != "" || p.SubnetMask() == nil || len(p.Router()) != 1 {
		t.Errorf("%d bytes:\n%s", n, p.Summary())
	}
	large := bootp(mac(1)).ToBytes()
	large = append(large, make([]byte, 400-len(large))...)
	f.sent = nil
	f.batch.run(context.Background(), f.Server, f, []datagram{{data: large, to: limitedBroadcast}})
	p, err := dhcpv4.FromBytes(f.sent[0].data)
	if err != nil || p.DomainName() == "" || len(f.sent[0].data) > len(large) {
		t.Errorf("to a large request: %v, %d bytes:\n%s", err, len(f.sent[0].data), p.Summary())
	}
}

// TestBOOTPBare: RFC 951 itself knows no magic cookie, and lets the machine name its server.
func TestBOOTPBare(t *testing.T) {
	f := newFixture(t)
	f.Policy = fixedHosts{mac(1): {Address: ip("10.77.0.20")}}
	ask := func(sname string) int {
		b := bootp(mac(1)).ToBytes()
		clear(b[atCookie:])
		copy(b[atSNAME:atFile], sname)
		f.sent = nil
		f.batch.run(context.Background(), f.Server, f, []datagram{{data: b, to: limitedBroadcast}})
		return len(f.sent)
	}
	if n := ask(""); n != 1 || !bytes.Equal(f.sent[0].data[atCookie:headerSize], []byte(magic)) {
		t.Errorf("%d replies", n)
	}
	if n := ask("10.77.0.1\x00junk"); n != 1 {
		t.Errorf("%d replies to who names this server", n)
	}
	if n := ask("other"); n != 0 || f.last().Reason != string(dropOther) {
		t.Errorf("%d replies to who names another server, %+v", n, f.last())
	}
}

// TestBOOTPWaitsForTheDisk: a machine that never asks again has to be told the truth the first time.
func TestBOOTPWaitsForTheDisk(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].BOOTP = time.Hour
	f.Commit = func(context.Context, []lease.Lease, []lease.MAC) error { return errDiskFull }
	f.none(bootp(mac(1)), dropCommit)
}

// TestBOOTPRouter: a list of options is none of BOOTP's, and takes no router away.
func TestBOOTPRouter(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Routes = []Route{route("10.90.0.0/16", "10.77.0.7")}
	f.Policy = fixedHosts{mac(1): {Address: ip("10.77.0.20")}}
	p := f.one(bootp(mac(1), option(dhcpv4.OptionParameterRequestList, 1, 3, 121)))
	if r := p.Router(); len(r) != 1 || addr(r[0]) != rackNet.Router {
		t.Errorf("reply:\n%s", p.Summary())
	}
}
