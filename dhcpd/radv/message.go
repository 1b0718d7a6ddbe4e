package radv

import (
	"net/netip"

	"muster/dhcpd/lease"
)

// ICMPv6 types and options of neighbour discovery (RFC 4861 §4.1, §4.2, §4.6.1).
const (
	typeSolicitation  = 133
	typeAdvertisement = 134
	optionSource      = 1 // source link-layer address
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
	dropLink      drop = "link"      // the interface has no link-local address, or routes
	dropSend      drop = "send"      // the answer could not be sent
)

// parse checks a solicitation as RFC 4861 §6.1.1 demands (the kernel has checked the checksum), and gives the
// sender's MAC; zero if it tells none. A solicitation from the unspecified address is refused, though the RFC
// has it: the answer would have to go to all hosts. The error is a drop.
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
