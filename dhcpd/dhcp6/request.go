package dhcp6

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

// Request is one message of a client, decoded. It must not be changed.
type Request struct {
	// Type is the message type, XID the number that the client gave this exchange.
	Type dhcpv6.MessageType
	XID  [3]byte
	// Key names whose lease it is about. MAC is that of the NIC which speaks, or else that in the DUID; zero if
	// none was told. DUID is the client identifier (option 1); empty if not told.
	Key  lease6.Key
	MAC  lease.MAC
	DUID []byte

	// PXE: firmware that boots over TFTP (option 16 starts with PXEClient, or there is none and option 61 is). HTTP:
	// UEFI HTTP boot (option 16 starts with HTTPClient). IPXE: iPXE itself (user class iPXE), whatever else it says
	// it is. At most one is set; none for an operating system.
	PXE, HTTP, IPXE bool
	// Archs are the client system architectures (option 61), best first; empty if not told.
	Archs []uint16
	// VendorClass is the first text of option 16, UserClass that of option 15; empty if not told.
	VendorClass, UserClass string

	// Link is the link-address of the relay next to the client that has one; zero without. Circuit is the relay's
	// Interface-Id (option 18), Remote its Remote-ID (option 37, RFC 4649), as bytes.
	Link            netip.Addr
	Circuit, Remote string

	// Interface is the one that the message came in on, Subnet the network that the client is in; nil if it is
	// none of ours. Server is this server's address for URLs; zero if it has none but link-local ones.
	Interface string
	Subnet    *Subnet
	Server    netip.Addr

	subnets []*Subnet       // all that share the link
	link    []netip.Prefix  // of the interface, for messages without relay
	from    netip.AddrPort  // who sent the packet
	to      netip.Addr      // where it went
	ia      *dhcpv6.OptIANA // the one that gets the address; nil for none
	hints   []netip.Addr    // the addresses in ia
	message *dhcpv6.Message
	relays  []*dhcpv6.RelayMessage // from the outside in
}

// Arch is the best client architecture; 0 if none was told.
func (r *Request) Arch() uint16 {
	if len(r.Archs) == 0 {
		return 0
	}
	return r.Archs[0]
}

// Boots reports whether firmware or iPXE is speaking, and not an operating system.
func (r *Request) Boots() bool { return r.PXE || r.HTTP || r.IPXE }

// maxHops is HOP_COUNT_LIMIT (RFC 8415 §7.6).
const maxHops = 8

// parse decodes a packet; the error is a drop.
func parse(d datagram) (*Request, error) {
	p, err := dhcpv6.FromBytes(d.data)
	if err != nil {
		return nil, dropMalformed
	}
	r := &Request{from: d.from, to: d.to}
	for p.IsRelay() {
		relay := p.(*dhcpv6.RelayMessage)
		if relay.MessageType != dhcpv6.MessageTypeRelayForward {
			return nil, dropType
		}
		if r.relays = append(r.relays, relay); len(r.relays) > maxHops {
			return nil, dropHops
		}
		if p = relay.Options.RelayMessage(); p == nil {
			return nil, dropMalformed
		}
	}
	r.message = p.(*dhcpv6.Message)
	if len(r.relays) == 0 && !r.from.Addr().IsLinkLocalUnicast() && !r.unicast() {
		return nil, dropSource
	}
	r.Type, r.XID = r.message.MessageType, r.message.TransactionID
	if err := r.valid(); err != nil {
		return nil, err
	}
	r.relayed()
	r.readIA()
	var iaid [4]byte
	if r.ia != nil {
		iaid = r.ia.IaId
	}
	r.Key, r.MAC = identify(r.DUID, iaid, linkMAC(r.from.Addr().WithZone(""), r.relays))
	r.classify()
	return r, nil
}

// unicast reports whether the client sent to our address, and not to that of all servers.
func (r *Request) unicast() bool { return len(r.relays) == 0 && r.to.IsValid() && !r.to.IsMulticast() }

// relayed reads what the relays add (RFC 8415 §13.1): the one next to the client knows best.
func (r *Request) relayed() {
	for _, relay := range r.relays {
		if a := address(relay.LinkAddr); a.IsValid() && !a.IsLinkLocalUnicast() {
			r.Link = a
		}
		if b := relay.Options.InterfaceID(); len(b) > 0 {
			r.Circuit = string(b)
		}
		if o := relay.Options.RemoteID(); o != nil && len(o.RemoteID) > 0 {
			r.Remote = string(o.RemoteID)
		}
	}
}

func (r *Request) readIA() {
	all := r.message.Options.IANA()
	if len(all) == 0 {
		return
	}
	r.ia = all[0]
	for _, a := range r.ia.Options.Addresses() {
		if a := address(a.IPv6Addr); a.IsValid() {
			r.hints = append(r.hints, a)
		}
	}
}

// classify finds out what program is speaking.
func (r *Request) classify() {
	o := r.message.Options
	for _, a := range o.ArchTypes() {
		r.Archs = append(r.Archs, uint16(a))
	}
	for _, class := range o.UserClasses() {
		if r.UserClass == "" {
			r.UserClass = text(class)
		}
		r.IPXE = r.IPXE || bytes.Equal(class, []byte("iPXE"))
	}
	for _, v := range o.VendorClasses() {
		if r.VendorClass == "" && len(v.Data) > 0 {
			r.VendorClass = text(v.Data[0])
		}
	}
	if r.IPXE {
		return
	}
	r.HTTP = strings.HasPrefix(r.VendorClass, "HTTPClient")
	r.PXE = strings.HasPrefix(r.VendorClass, "PXEClient") || r.VendorClass == "" && len(r.Archs) > 0
}

// text is b without a C string's end. What machines say goes into logs: nothing but printable ASCII is left.
func text(b []byte) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(b))
}

// wants reports whether the client asked for an option (option 6, RFC 8415 §21.7).
func (r *Request) wants(code dhcpv6.OptionCode) bool {
	return r.message.Options.RequestedOptions().Contains(code)
}
