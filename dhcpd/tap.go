package dhcpd

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// Packet is one DHCP message on the wire, as Tap sees it.
type Packet struct {
	// Interface is the name of the one that it came in on or leaves by.
	Interface string
	// MAC is that of the machine which it is from or for (chaddr); zero if it cannot be read.
	MAC lease.MAC
	// In tells what came in from what goes out.
	In bool
	// From and To are what its IP and UDP headers say.
	From, To netip.AddrPort
	// Data is the DHCP message. It is valid during the call only, and must not be changed.
	Data []byte
	// Drop is the reason why what came in got no answer; empty for what got one, for what needs none (RELEASE,
	// DECLINE), and for what goes out.
	Drop string
}

// tapIn shows a packet that came in, once it is known what became of it.
func (s *Server) tapIn(l *link, d *datagram, why string) {
	if s.Tap == nil {
		return
	}
	s.Tap(Packet{Interface: l.name, MAC: hardwareOf(d.data), In: true, From: d.from,
		To: netip.AddrPortFrom(d.to, l.port()), Data: d.data, Drop: why})
}

// tapAnswer shows a request, and the reply to it if there is one, which o is then.
func (s *Server) tapAnswer(l *link, a *answer, o *outgoing) {
	if s.Tap == nil {
		return
	}
	why := a.why
	if a.kind == dhcpv4.MessageTypeNak {
		why = "" // that is an answer
	}
	s.tapIn(l, a.req.datagram, why)
	if a.kind != dhcpv4.MessageTypeNone {
		s.Tap(Packet{Interface: l.name, MAC: a.req.MAC, From: netip.AddrPortFrom(o.from, l.port()), To: o.to, Data: o.data})
	}
}

// hardwareOf reads chaddr of any bytes; zero if there is none or it is not Ethernet's.
func hardwareOf(b []byte) (m lease.MAC) {
	const hlen, chaddr = 2, 28
	if len(b) >= chaddr+len(m) && b[1] == 1 && b[hlen] == byte(len(m)) {
		copy(m[:], b[chaddr:])
	}
	return m
}
