package dhcpd

import (
	"bytes"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// overload makes a finished reply fit into limit by moving options into the fields file and sname, as far as they are
// free (RFC 2131 §4.1, option 52). It reports whether that is enough; otherwise the reply stays as it is. What it makes
// is garbage afterwards: few answers are so large.
func (w *writer) overload(limit int) bool {
	if w.kind == bootReply {
		return false // BOOTP has no such thing
	}
	h := w.b[w.start:]
	const marker = 3 // option 52
	over := w.end - w.start + marker + 1 - limit
	areas := [...]area{{field: h[atFile:atCookie], bit: 1}, {field: h[atSNAME:atFile], bit: 2}}
	var options [][]byte
	for rest := h[headerSize : w.end-w.start]; len(rest) > 0; {
		n := 2 + int(rest[1])
		options, rest = append(options, bytes.Clone(rest[:n])), rest[n:]
	}
	for _, keep := range [...][]uint8{slices.Concat(stay, vital), stay} {
		for i, o := range options {
			if over > 0 && o != nil && !slices.Contains(keep, o[0]) && (areas[0].take(o) || areas[1].take(o)) {
				over -= len(o)
				options[i] = nil
			}
		}
	}
	if over > 0 {
		return false
	}
	var bits byte
	for _, a := range areas {
		if len(a.options) > 0 {
			copy(a.field, append(a.options, dhcpv4.OptionEnd.Code()))
			bits |= a.bit
		}
	}
	w.b = w.b[:w.start+headerSize]
	for _, o := range options {
		if o != nil && o[0] == dhcpv4.OptionRelayAgentInformation.Code() && bits != 0 {
			w.put(dhcpv4.OptionOptionOverload, bits)
			bits = 0
		}
		w.b = append(w.b, o...)
	}
	if bits != 0 {
		w.put(dhcpv4.OptionOptionOverload, bits)
	}
	w.finish()
	return true
}

// Options that stay where they are: those that come first, and relay agent information, which is the last (RFC 3046
// §2.1); and those that a client which reads no overload had better have.
var (
	stay  = append(slices.Clone(first), dhcpv4.OptionRelayAgentInformation.Code())
	vital = []uint8{dhcpv4.OptionSubnetMask.Code(), dhcpv4.OptionRouter.Code(), dhcpv4.OptionDomainNameServer.Code(),
		dhcpv4.OptionClasslessStaticRoute.Code(), dhcpv4.OptionBootfileName.Code()}
)

// area is a field that options can go into.
type area struct {
	field   []byte
	bit     byte // of option 52
	options []byte
}

// take adds o, if the field is free and has room for it and the End. Of an option in pieces (RFC 3396) at most the
// last one is that short: it is read after the others, which stay.
func (a *area) take(o []byte) bool {
	if a.field[0] != 0 || len(a.options)+len(o)+1 > len(a.field) {
		return false
	}
	a.options = append(a.options, o...)
	return true
}
