package dhcpd

import (
	"maps"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The fixed part of a packet, with the magic cookie, and its least size (RFC 951 §3): some relays and ROMs
// drop what is shorter.
const (
	headerSize = 240
	bootpSize  = 300
)

// first are the options that come before all others. RFC 2131 has no order, but there is firmware that looks
// for the message type where the common servers have it.
var first = []uint8{
	dhcpv4.OptionDHCPMessageType.Code(), dhcpv4.OptionServerIdentifier.Code(), dhcpv4.OptionIPAddressLeaseTime.Code(),
}

// encode makes the bytes of p: its options in a fixed order, relay agent information last (RFC 3046 §2.1).
func encode(p *dhcpv4.DHCPv4) []byte {
	last := dhcpv4.OptionRelayAgentInformation.Code()
	header := *p
	header.Options = nil
	b := header.ToBytes()[:headerSize]
	for _, c := range first {
		b = appendOption(b, c, p.Options)
	}
	for _, c := range slices.Sorted(maps.Keys(p.Options)) {
		if c != last && !slices.Contains(first, c) {
			b = appendOption(b, c, p.Options)
		}
	}
	b = appendOption(b, last, p.Options)
	b = append(b, dhcpv4.OptionEnd.Code())
	if n := bootpSize - len(b); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	return b
}

// appendOption writes an option, if it is set, in as many pieces as it needs (RFC 3396 §5).
func appendOption(b []byte, code uint8, options dhcpv4.Options) []byte {
	v, ok := options[code]
	for ok {
		n := min(len(v), 255)
		b = append(append(b, code, byte(n)), v[:n]...)
		v = v[n:]
		ok = len(v) > 0
	}
	return b
}
