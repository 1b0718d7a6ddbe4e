package dhcpd

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// direct tells a machine what to boot and nothing else: beside another DHCP server, which has offered it an address
// (PXE 2.1 §2.2.1, proxyDHCP), or on the boot server's port (§2.2.3). No lease depends on it.
func (d *round) direct(r *Request, h Host) answer {
	q := d.quirk(r)
	a := answer{req: r, direct: true, subnet: r.Subnet, host: h, quirk: q, file: d.bootFile(r, h, q)}
	silent := func(why drop) answer {
		a.why = string(why)
		return a
	}
	switch {
	case !r.Boots():
		return silent(dropNotBooting)
	case r.pxe && r.Type != dhcpv4.MessageTypeRequest && r.Type != dhcpv4.MessageTypeInform:
		return silent(dropNotBooting)
	case r.pxe && d.elsewhere(r):
		return silent(dropOther)
	case d.elsewhere(r), !r.pxe && r.Type == dhcpv4.MessageTypeRequest && !r.ServerID.IsValid() && !r.Client.IsValid():
		// It takes the other server's address, or wants one back.
		return silent(dropAddress)
	case r.Type == dhcpv4.MessageTypeDecline, r.Type == dhcpv4.MessageTypeRelease:
		return silent(dropAddress)
	case a.file == "":
		return silent(dropNoFile)
	case r.Client.IsValid() && subnetOf(r.subnets, r.Client) == nil:
		return silent(dropNoAddress) // the reply would go to somebody else
	}
	if a.kind = dhcpv4.MessageTypeAck; r.Type == dhcpv4.MessageTypeDiscover {
		a.kind = dhcpv4.MessageTypeOffer
	}
	return a
}

// chosen is the address that a machine takes from the other server, as far as its REQUEST, which is for everybody to
// hear, says so; zero if it does not.
func (a *answer) chosen() netip.Addr {
	if a.direct && a.why == string(dropAddress) && a.req.Type == dhcpv4.MessageTypeRequest && a.req.ServerID.IsValid() {
		return a.req.Requested
	}
	return netip.Addr{}
}

// directRoute says where an answer of direct goes. PXE 2.1 §2.2.3: that of the boot server's port goes to the port which
// was asked from, and machines ask from several.
func (a *answer) directRoute() netip.AddrPort {
	r, port := a.req, uint16(clientPort)
	if r.pxe && r.datagram != nil && r.datagram.from.Port() != 0 {
		port = r.datagram.from.Port()
	}
	switch {
	case r.Relay.IsValid() && r.Type != dhcpv4.MessageTypeInform:
		return netip.AddrPortFrom(r.Relay, serverPort)
	case r.Client.IsValid():
		return netip.AddrPortFrom(r.Client, port)
	case r.pxe && r.datagram != nil && subnetOf(r.subnets, r.datagram.from.Addr().Unmap()) != nil:
		return netip.AddrPortFrom(r.datagram.from.Addr().Unmap(), port)
	}
	return netip.AddrPortFrom(limitedBroadcast, port) // it has no address that we know of
}
