package dhcpd

import (
	"context"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzProxy hands arbitrary bytes to a server beside another one, and to port 4011: one reply at most, which has no
// address and no lease, and goes to nobody outside of the subnets but relays.
func FuzzProxy(f *testing.F) {
	has := dhcpv4.WithClientIP(ip("10.77.0.140").AsSlice())
	for _, p := range []*dhcpv4.DHCPv4{
		discover(mac(1), biosROM), discover(mac(1), uefiX64), discover(mac(1), uefiHTTP), discover(mac(1), ipxe), discover(mac(1), rpiROM),
		discover(mac(1), dhclient), bootp(mac(1)), inform(mac(1), ip("10.77.0.140"), uefiX64), decline(mac(1), ip("10.77.0.140")),
		message(mac(1), dhcpv4.MessageTypeRequest, uefiX64, has), message(mac(1), dhcpv4.MessageTypeRequest, ipxe, askFor(ip("10.77.0.140")), chose(other)),
		message(mac(1), dhcpv4.MessageTypeRequest, biosROM, has, option(dhcpv4.OptionVendorSpecificInformation, 0, 71, 4, 0x80, 0, 0, 0, 255)),
		discover(mac(1), biosROM, relayedBy(ip("10.78.0.1")), option82()),
	} {
		for mode := range uint8(8) {
			f.Add(p.ToBytes(), mode)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, mode uint8) {
		x := newFixture(t)
		x.pxe = mode&1 != 0
		x.Proxy = mode&2 != 0 || !x.pxe
		d := datagram{data: data, to: limitedBroadcast, from: netip.MustParseAddrPort("10.77.0.140:4011")}
		if mode&4 != 0 {
			d.to = server
		}
		x.batch.run(context.Background(), x.Server, x, []datagram{d})
		if x.Leases.Len() > 0 || len(x.offers.byMAC) > 0 {
			t.Error("it gave an address")
		}
		if len(x.sent) == 0 {
			return
		}
		if len(x.sent) > 1 {
			t.Fatalf("%d replies to one packet", len(x.sent))
		}
		o := x.sent[0]
		checkReply(t, data, o)
		p, err := dhcpv4.FromBytes(o.data)
		if err != nil || !p.YourIPAddr.IsUnspecified() || p.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
			t.Errorf("a reply with an address: %v", p)
		}
		if to := o.to.Addr(); to != limitedBroadcast && to != addr(p.GatewayIPAddr) && subnetOf([]*Subnet{&rackNet, &remoteNet}, to) == nil {
			t.Errorf("a reply to %s", to)
		}
	})
}
