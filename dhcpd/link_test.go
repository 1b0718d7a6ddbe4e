package dhcpd

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// agent is relay agent information.
func agent(sub byte, v ...byte) dhcpv4.Modifier {
	return option(dhcpv4.OptionRelayAgentInformation, append([]byte{1, 3, 'p', '-', '1', sub, byte(len(v))}, v...)...)
}

// TestLinkSelection: RFC 3527, the relay's address is not of the machine's network.
func TestLinkSelection(t *testing.T) {
	f := newFixture(t)
	relay, link := ip("192.0.2.1"), agent(5, 10, 78, 0, 0)
	f.none(discover(mac(1), relayedBy(relay)), dropSubnet)
	a := f.bind(mac(1), relayedBy(relay), link)
	if !remoteNet.Range.Contains(a) {
		t.Errorf("got %s, want one of the link", a)
	}
	p := f.one(discover(mac(1), relayedBy(relay), link))
	if o := f.sent[0]; o.to.Addr() != relay || o.to.Port() != serverPort {
		t.Errorf("reply to %s, want the relay", o.to)
	}
	if got := string(p.Options.Get(dhcpv4.OptionRelayAgentInformation)); got != "\x01\x03p-1\x05\x04\x0a\x4e\x00\x00" {
		t.Errorf("relay agent information %q", got)
	}
	f.none(discover(mac(2), relayedBy(relay), agent(5, 10, 99, 0, 0)), dropSubnet)
	// Broken, or made up by a machine on the link: as if it were not there.
	f.none(discover(mac(2), relayedBy(relay), agent(5, 10, 78)), dropSubnet)
	if a := f.offered(mac(2), link); !rackNet.Range.Contains(a) {
		t.Errorf("a machine chose its own network: %s", a)
	}
}

// TestSubnetSelection: RFC 3011, where it is allowed.
func TestSubnetSelection(t *testing.T) {
	f := newFixture(t)
	wish := option(dhcpv4.OptionSubnetSelection, 10, 78, 0, 0)
	p := f.one(discover(mac(1), wish))
	if !rackNet.Range.Contains(addr(p.YourIPAddr)) || p.Options.Has(dhcpv4.OptionSubnetSelection) {
		t.Errorf("though it is off:\n%s", p.Summary())
	}
	f.SubnetSelection = true
	p = f.one(discover(mac(2), wish))
	if !remoteNet.Range.Contains(addr(p.YourIPAddr)) || addr(p.Options.Get(dhcpv4.OptionSubnetSelection)) != ip("10.78.0.0") {
		t.Errorf("reply:\n%s", p.Summary())
	}
	// The relay knows better (RFC 3527 §3).
	if a := f.offered(mac(3), wish, relayedBy(ip("192.0.2.1")), agent(5, 10, 77, 0, 0)); !rackNet.Range.Contains(a) {
		t.Errorf("against the relay: %s", a)
	}
}

// TestOverride: RFC 5107, the relay stands for the server in option 54, so that renewals come by it.
func TestOverride(t *testing.T) {
	f := newFixture(t)
	relay := ip("10.78.0.1")
	mods := []dhcpv4.Modifier{relayedBy(relay), agent(11, 10, 78, 0, 1)}
	p := f.one(discover(mac(1), mods...))
	if addr(p.ServerIdentifier()) != relay {
		t.Errorf("server %s, want %s", p.ServerIdentifier(), relay)
	}
	a := addr(p.YourIPAddr)
	request := append(mods, askFor(a), chose(relay))
	f.acked(message(mac(1), dhcpv4.MessageTypeRequest, request...), a)
	// A renewal that the relay took for the server.
	f.acked(renewing(mac(1), a, append(mods, chose(relay))...), a)
	f.none(message(mac(1), dhcpv4.MessageTypeRequest, append(mods, askFor(a), chose(ip("10.78.0.9")))...), dropOther)
	// Without the relay's word, its address is another server.
	f.none(message(mac(1), dhcpv4.MessageTypeRequest, relayedBy(relay), askFor(a), chose(relay)), dropOther)
	// What to boot still comes from here.
	if p := f.one(discover(mac(2), append(mods, uefiX64)...)); addr(p.ServerIPAddr) != server {
		t.Errorf("next-server %s, want %s", p.ServerIPAddr, server)
	}
}
