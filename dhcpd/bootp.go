package dhcpd

import (
	"bytes"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// bootReply is the kind of an answer to BOOTP (RFC 951), which has no message type on the wire.
const bootReply = dhcpv4.MessageType(255)

// typeName is t for people.
func typeName(t dhcpv4.MessageType) string {
	if t == dhcpv4.MessageTypeNone || t == bootReply {
		return "BOOTP"
	}
	return t.String()
}

// bootp answers a machine that speaks no DHCP (RFC 1534 §2). It never renews: its lease ends, and another machine gets
// the address. So it gets one of the range only where the subnet says for how long; a fixed one is its own anyhow.
func (d *round) bootp(r *Request, h Host) answer {
	// RFC 951 §7.3: sname names the server that shall answer. Ours is called by its address.
	if name, _, _ := bytes.Cut(r.data[atSNAME:atFile], zeros[:1]); len(name) > 0 && string(name) != r.Server.String() {
		return silence(r, dropOther)
	}
	a, n := d.fixed(r, h)
	term := r.Subnet.BOOTP
	switch {
	case n != nil:
		term = max(term, n.lease())
	case term == 0:
		return silence(r, dropBOOTP)
	case !d.admits(r):
		return silence(r, dropNewcomer)
	default:
		if a, n = d.choose(r); n == nil {
			return d.full(r)
		}
	}
	d.lend(r, h, a, term)
	b := answer{req: r, kind: bootReply, addr: a, subnet: n, host: h}
	if !h.NoBoot { // the table's boot files are for PXE
		b.file = h.BootFile
	}
	return b
}

// bootpLimit is how large the answer to a BOOTP request may be: what the least one has room for, 64 bytes of vendor
// area (RFC 951 §3, RFC 1497), or as much as the machine sent itself (RFC 1542 §2.1).
func (r *Request) bootpLimit() int { return max(bootpSize, min(len(r.data), minMessage-ipUDPHeader)) }

// identity is how the server calls itself to r (option 54): what the relay asks for, so that renewals come by it
// (RFC 5107 §4), or its address.
func (r *Request) identity() netip.Addr {
	if r.Override.IsValid() {
		return r.Override
	}
	return r.Server
}
