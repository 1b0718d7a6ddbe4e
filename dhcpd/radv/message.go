package radv

import (
	"encoding/binary"
	"net/netip"

	"muster/dhcpd/lease"
)

// ICMPv6 types and options of neighbour discovery (RFC 4861 §4.1, §4.2, §4.6.1).
const (
	typeSolicitation  = 133
	typeAdvertisement = 134
	optionSource      = 1 // source link-layer address
	optionPrefix      = 3 // prefix information
)

// hopLimit is what neighbour discovery must arrive with: no router passes it on undiminished, so its sender
// is on the link (RFC 4861 §6.1.1).
const hopLimit = 255

// advertisement is the whole answer: "no router here". The kernel fills in the checksum.
var advertisement = []byte{
	typeAdvertisement, 0, 0, 0, // type, code, checksum
	0,    // hop limit to use: unspecified
	0,    // not managed, no other configuration, and the preference that RFC 4191 §2.2 demands with lifetime 0
	0, 0, // router lifetime: no default router
	0, 0, 0, 0, // reachable time: unspecified
	0, 0, 0, 0, // retransmission timer: unspecified
}

// The flags of an advertisement (RFC 4861 §4.2) and of a prefix in it (§4.6.2).
const (
	flagManaged = 0x80 // addresses come by DHCPv6
	flagOther   = 0x40 // and so does the rest
	flagOnLink  = 0x80
)

// message is what is advertised on a link.
func (l Link) message() []byte {
	b := append([]byte(nil), advertisement...)
	if l.Managed {
		b[5] = flagManaged | flagOther
	}
	for _, p := range l.OnLink {
		o := make([]byte, 32)
		o[0], o[1], o[2], o[3] = optionPrefix, byte(len(o)/8), byte(p.Bits()), flagOnLink
		// Nothing is advertised again unasked, so that a host must not forget it.
		binary.BigEndian.PutUint32(o[4:], 1<<32-1)
		binary.BigEndian.PutUint32(o[8:], 1<<32-1)
		a := p.Masked().Addr().As16()
		copy(o[16:], a[:])
		b = append(b, o...)
	}
	return b
}

// solicitation is a message that came in.
type solicitation struct {
	data     []byte
	from     netip.Addr // without zone
	hopLimit int
}

// drop is the reason why a solicitation gets no answer, as the metrics count it.
type drop string

func (d drop) Error() string { return string(d) }

// The reasons for silence.
const (
	dropMalformed drop = "malformed" // not as RFC 4861 §6.1.1 has it
	dropSource    drop = "source"    // from an address that is not link-local
	dropUnknown   drop = "unknown"   // not from a machine that is booting
	dropFull      drop = "full"      // too many wait for an answer
	dropRouter    drop = "router"    // the link has a router, by configuration
	dropLink      drop = "link"      // the interface has no link-local address, or routes
	dropSend      drop = "send"      // the answer could not be sent
)

// parse checks a solicitation as RFC 4861 §6.1.1 demands (the kernel has checked the checksum), and gives the
// sender's MAC; zero if it tells none. A solicitation from the unspecified address is a dropSource, though the RFC
// has it: the answer has to go to all hosts. The error is a drop.
func (s *solicitation) parse() (mac lease.MAC, err error) {
	const header, block = 8, 8
	if s.hopLimit != hopLimit || len(s.data) < header || s.data[0] != typeSolicitation || s.data[1] != 0 {
		return mac, dropMalformed
	}
	for b := s.data[header:]; len(b) > 0; {
		if len(b) < block {
			return mac, dropMalformed
		}
		n := int(b[1]) * block
		if n == 0 || n > len(b) {
			return mac, dropMalformed
		}
		if b[0] == optionSource && n == block {
			mac = lease.MAC(b[2:block])
		}
		b = b[n:]
	}
	if !s.from.Is6() || !s.from.IsLinkLocalUnicast() {
		return mac, dropSource
	}
	return mac, nil
}
