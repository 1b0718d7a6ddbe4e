package dhcpd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"net/netip"
)

func TestParse(t *testing.T) {
	const id = "11223344-5566-7788-99aa-bbccddeeff01"
	none := Request{MAC: mac(1), XID: [4]byte{1, 2, 0, 1}, Type: dhcpv4.MessageTypeDiscover}
	with := func(f func(*Request)) Request { r := none; f(&r); return r }
	for _, tt := range []struct {
		name string
		mod  dhcpv4.Modifier
		want Request
	}{
		{"nothing", mods(), none},
		{"BIOS ROM", biosROM, with(func(r *Request) {
			r.PXE, r.Archs, r.UUID, r.VendorClass = true, []uint16{0}, id, "PXEClient:Arch:00000:UNDI:002001"
		})},
		{"UEFI HTTP", uefiHTTP, with(func(r *Request) {
			r.HTTP, r.Archs, r.UUID, r.VendorClass = true, []uint16{16}, id, "HTTPClient:Arch:00016:UNDI:003016"
		})},
		{"iPXE", ipxe, with(func(r *Request) {
			r.IPXE, r.Archs, r.UUID, r.VendorClass, r.UserClass = true, []uint16{0}, id, "PXEClient:Arch:00000:UNDI:002001", "iPXE"
		})},
		{"iPXE by its options alone", option(dhcpv4.OptionEtherboot, 1, 1, 1), with(func(r *Request) { r.IPXE = true })},
		{"iPXE by RFC 3004", option(dhcpv4.OptionUserClassInformation, []byte("\x04iPXE")...), with(func(r *Request) {
			r.IPXE, r.UserClass = true, "\x04iPXE"
		})},
		{"arch in the class alone", class("PXEClient:Arch:00007:UNDI:003016"), with(func(r *Request) {
			r.PXE, r.Archs, r.VendorClass = true, []uint16{7}, "PXEClient:Arch:00007:UNDI:003016"
		})},
		{"class without arch", class("PXEClient\x00"), with(func(r *Request) { r.PXE, r.VendorClass = true, "PXEClient" })},
		{"several archs", option(dhcpv4.OptionClientSystemArchitectureType, 0, 7, 0, 9, 0), with(func(r *Request) { r.Archs = []uint16{7, 9} })},
		{"no real UUID", option(dhcpv4.OptionClientMachineIdentifier, make([]byte, 17)...), none},
		{"short UUID", option(dhcpv4.OptionClientMachineIdentifier, 0, 1, 2), none},
		{"relay", mods(relayedBy(ip("10.78.0.1")), option82()), with(func(r *Request) {
			r.Relay, r.Circuit, r.Remote = ip("10.78.0.1"), "ge-07", "rack"
		})},
		{"broken relay options", option(dhcpv4.OptionRelayAgentInformation, 1, 200, 1), none},
		{"host name", hostName("web-01.rack\x00"), with(func(r *Request) { r.Hostname = "web-01.rack" })},
		{"no host name", hostName("\x1b[31m<script>"), none},
		{"addresses", mods(askFor(ip("10.77.0.5")), chose(server), dhcpv4.WithClientIP(ip("10.77.0.6").AsSlice()), dhcpv4.WithBroadcast(true)),
			with(func(r *Request) {
				r.Requested, r.ServerID, r.Client, r.Broadcast = ip("10.77.0.5"), server, ip("10.77.0.6"), true
			})},
		{"broken address", option(dhcpv4.OptionRequestedIPAddress, 1, 2, 3), none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got Request
			if why := got.parse(discover(mac(1), tt.mod).ToBytes(), names{}); why != "" {
				t.Fatal(why)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Request{}), cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("request (-want +got):\n%s", d)
			}
		})
	}
}

func TestLocate(t *testing.T) {
	f := newFixture(t)
	l := f.link()
	for _, tt := range []struct {
		name   string
		in     *dhcpv4.DHCPv4
		to     netip.Addr
		subnet string
		server string
	}{
		{"broadcast", discover(mac(1)), limitedBroadcast, "10.77.0.0/24", "10.77.0.1"},
		{"relay", discover(mac(1), relayedBy(ip("10.78.0.1"))), server, "10.78.0.0/24", "10.77.0.1"},
		{"unknown relay", discover(mac(1), relayedBy(ip("10.99.0.1"))), server, "", "10.77.0.1"},
		{"renewing past the relay", renewing(mac(1), ip("10.78.0.5")), server, "10.78.0.0/24", "10.77.0.1"},
		{"rebinding", renewing(mac(1), ip("10.78.0.5")), limitedBroadcast, "10.77.0.0/24", "10.77.0.1"},
		{"destination not known", discover(mac(1)), netip.Addr{}, "10.77.0.0/24", "10.77.0.1"},
	} {
		r := new(Request)
		if why := r.parse(tt.in.ToBytes(), names{}); why != "" {
			t.Fatal(why)
		}
		f.locate(r, &l, tt.to)
		if r.Subnet.prefix() != tt.subnet || r.Server != ip(tt.server) || r.Interface != "eth1" {
			t.Errorf("%s: subnet %q, server %s on %s, want %q, %s", tt.name, r.Subnet.prefix(), r.Server, r.Interface, tt.subnet, tt.server)
		}
	}
	l.addrs = nil
	r := new(Request)
	r.parse(discover(mac(1)).ToBytes(), names{})
	if f.locate(r, &l, limitedBroadcast); r.Subnet != nil {
		t.Error("an interface that lost its address serves a subnet")
	}
}
