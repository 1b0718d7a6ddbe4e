package dhcpd

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The ports of RFC 2131 §4.1; relays listen on the server's. On the last one PXE firmware asks what to boot when it has
// an address (PXE 2.1 §2.2.3).
const (
	serverPort = 67
	clientPort = 68
	pxePort    = 4011
)

// route says where the reply goes (RFC 2131 §4.1). raw means that the machine does not answer ARP for that
// address yet: the frame goes to its MAC.
func (a *answer) route() (to netip.AddrPort, raw bool) {
	r := a.req
	switch {
	case a.direct:
		return a.directRoute(), false
	case r.Type == dhcpv4.MessageTypeInform: // §4.3.5: always to ciaddr, past the relay
		return netip.AddrPortFrom(r.Client, clientPort), false
	case r.Relay.IsValid():
		return netip.AddrPortFrom(r.Relay, serverPort), false
	case a.kind == dhcpv4.MessageTypeNak:
		return netip.AddrPortFrom(limitedBroadcast, clientPort), false
	case r.Client.IsValid() && r.Client == a.addr: // never to an address that somebody else may have
		return netip.AddrPortFrom(r.Client, clientPort), false
	case r.Broadcast:
		return netip.AddrPortFrom(limitedBroadcast, clientPort), false
	default:
		return netip.AddrPortFrom(a.addr, clientPort), true
	}
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
