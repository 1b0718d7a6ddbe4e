package dhcp6

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

// ethernet is the hardware type of Ethernet (RFC 826).
const ethernet = 1

// identify says who sent a message. The MAC of the link is best: it is that of the NIC which speaks, and the same
// for ROM, boot loader and operating system. An operating system with a random link-local address (RFC 7217) tells
// its MAC only by its DUID, if at all.
//
// Where link and DUID tell different MACs, the machine has several NICs (its DUID has one of them), or was cloned,
// or a gateway or a load generator speaks for many: no MAC names it alone, and so RFC 8415's own key does, the DUID
// and the IAID, together with the MAC of the link. The same holds, without a MAC, where none is told.
func identify(duid []byte, iaid [4]byte, link lease.MAC) (lease6.Key, lease.MAC) {
	var none lease.MAC
	own := duidMAC(duid)
	switch {
	case link == none && own == none:
		return lease6.ByClient(duid, iaid, none), none
	case link == none:
		return lease6.ByMAC(own), own
	case own == none || own == link:
		return lease6.ByMAC(link), link
	}
	return lease6.ByClient(duid, iaid, link), link
}

// duidMAC is the MAC in a DUID-LLT or DUID-LL (RFC 8415 §11.2, §11.4); zero for none.
func duidMAC(b []byte) lease.MAC {
	const llt, ll = 1, 3
	if len(b) < 4 || binary.BigEndian.Uint16(b[2:]) != ethernet {
		return lease.MAC{}
	}
	switch {
	case binary.BigEndian.Uint16(b) == llt && len(b) == 14:
		return proper(b[8:])
	case binary.BigEndian.Uint16(b) == ll && len(b) == 10:
		return proper(b[4:])
	}
	return lease.MAC{}
}

// proper is b as the MAC of a machine; zero if it cannot be one's.
func proper(b []byte) lease.MAC {
	if len(b) != 6 || lease.MAC(b).Group() {
		return lease.MAC{}
	}
	return lease.MAC(b)
}

// linkMAC is the MAC that the link tells: what the relay next to the client saw (option 79, RFC 6939), or that in
// the client's link-local address; zero for none. relays are the relays from the outside in.
func linkMAC(from netip.Addr, relays []*dhcpv6.RelayMessage) lease.MAC {
	if len(relays) == 0 {
		return eui64(from)
	}
	inner := relays[len(relays)-1]
	if kind, hw := inner.Options.ClientLinkLayerAddress(); kind == ethernet && proper(hw) != (lease.MAC{}) {
		return proper(hw)
	}
	return eui64(address(inner.PeerAddr))
}

// eui64 is the MAC in a link-local address that was made from one (RFC 4291 appendix A); zero for any other.
func eui64(a netip.Addr) lease.MAC {
	b := a.As16()
	if a.Is4() || binary.BigEndian.Uint64(b[:]) != 0xfe80<<48 || b[11] != 0xff || b[12] != 0xfe {
		return lease.MAC{}
	}
	return proper([]byte{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]})
}

// address is ip as IPv6; zero for none.
func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	if !a.Is6() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
