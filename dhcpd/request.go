package dhcpd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease"
)

// Request is one packet of a machine, decoded. It must not be changed.
type Request struct {
	// MAC is the machine's hardware address (chaddr), which names it.
	MAC lease.MAC
	// XID is the number that the machine gave this exchange.
	XID [4]byte
	// Type is the message type (option 53).
	Type dhcpv4.MessageType

	// PXE: firmware that boots over TFTP (option 60 starts with PXEClient). HTTP: UEFI HTTP boot (option 60
	// starts with HTTPClient). IPXE: iPXE itself (user class iPXE, or its option 175), whatever else it says
	// it is. At most one is set; none for an operating system.
	PXE, HTTP, IPXE bool
	// Archs are the client system architectures (option 93, RFC 4578 §2.1), best first; empty if not told.
	Archs []uint16
	// UUID is the SMBIOS system UUID (option 97, RFC 4578 §2.3), lower case; empty if not told.
	UUID string
	// VendorClass is option 60, UserClass option 77 (RFC 3004); Hostname what the machine calls itself
	// (option 12), empty unless it is a valid host name.
	VendorClass, UserClass, Hostname string

	// Relay is the address of the relay agent (giaddr); zero for a machine on the link.
	Relay netip.Addr
	// Circuit and Remote are the relay's sub-options 1 and 2 of option 82 (RFC 3046), as bytes.
	Circuit, Remote string

	// Client is the address that the machine uses (ciaddr), Requested the one that it asks for (option 50),
	// ServerID the server that it chose (option 54). Zero if not told.
	Client, Requested, ServerID netip.Addr
	// Broadcast: the machine cannot receive unicast before it has an address (RFC 2131 §4.1).
	Broadcast bool

	// Interface is the name of the one that the packet came in on, and Unicast tells that it was sent to
	// Server and not to everybody.
	Interface string
	Unicast   bool
	// Server is the address of this server for the machine: the one the packet was sent to, or that of the
	// interface in the machine's subnet.
	Server netip.Addr
	// Subnet is the one that the machine is in; nil if it is not configured.
	Subnet *Subnet

	// subnets are all of the link that the machine is on; Subnet is the first.
	subnets []*Subnet
	packet  *dhcpv4.DHCPv4
	// datagram is what it was read from. Its data is valid only while its batch is answered.
	datagram datagram
}

// Arch is the first of Archs; 0 (x86 BIOS) if the machine told none, as RFC 4578 clients of old do.
func (r *Request) Arch() uint16 {
	if len(r.Archs) == 0 {
		return 0
	}
	return r.Archs[0]
}

// probe reports whether r is from Detect: it is answered like a new machine's, but no policy is asked and
// nobody is told, so that looking for servers makes no node.
func (r *Request) probe() bool {
	return r.Type == dhcpv4.MessageTypeDiscover && r.UserClass == DetectorClass
}

// drop is the reason why a packet gets no answer, as the metrics count it.
type drop string

func (d drop) Error() string { return string(d) }

// The reasons for silence.
const (
	dropMalformed drop = "malformed"    // not a DHCP packet
	dropTruncated drop = "truncated"    // longer than any packet that a client may send
	dropReply     drop = "reply"        // a BOOTREPLY, or a message type that only servers send
	dropBOOTP     drop = "bootp"        // no message type (option 53)
	dropHardware  drop = "hardware"     // not Ethernet, or not a machine's address
	dropSubnet    drop = "no-subnet"    // from a network that is not configured
	dropIgnored   drop = "ignored"      // by policy
	dropOther     drop = "other-server" // the machine chose another server
	dropFull      drop = "exhausted"    // no address is left
	dropCommit    drop = "commit"       // the lease could not be made durable
	dropNotHolder drop = "not-holder"   // releases or declines an address that it does not have
	dropNoAddress drop = "no-address"   // a REQUEST or INFORM without the address that it is about
	dropTooLarge  drop = "too-large"    // the answer does not fit into what the machine accepts
	dropSend      drop = "send"         // the answer could not be sent
)

// parse decodes a packet. Its error is a drop.
func parse(b []byte) (*Request, error) {
	p, err := dhcpv4.FromBytes(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// Some ROMs leave out the End option.
		p, err = dhcpv4.FromBytes(append(b[:len(b):len(b)], byte(dhcpv4.OptionEnd.Code())))
	}
	switch {
	case err != nil:
		return nil, dropMalformed
	case p.OpCode != dhcpv4.OpcodeBootRequest:
		return nil, dropReply
	case p.HWType != iana.HWTypeEthernet || len(p.ClientHWAddr) != len(lease.MAC{}):
		return nil, dropHardware
	}
	r := &Request{
		MAC:         lease.MAC(p.ClientHWAddr),
		XID:         p.TransactionID,
		VendorClass: text(p, dhcpv4.OptionClassIdentifier),
		UserClass:   text(p, dhcpv4.OptionUserClassInformation),
		Hostname:    hostname(text(p, dhcpv4.OptionHostName)),
		UUID:        machineID(p.Options.Get(dhcpv4.OptionClientMachineIdentifier)),
		Relay:       addr(p.GatewayIPAddr),
		Client:      addr(p.ClientIPAddr),
		Requested:   addr(p.Options.Get(dhcpv4.OptionRequestedIPAddress)),
		ServerID:    addr(p.Options.Get(dhcpv4.OptionServerIdentifier)),
		Broadcast:   p.IsBroadcast(),
		packet:      p,
	}
	if r.MAC.Group() || r.MAC == (lease.MAC{}) {
		return nil, dropHardware
	}
	t := p.Options.Get(dhcpv4.OptionDHCPMessageType)
	if len(t) != 1 {
		return nil, dropBOOTP
	}
	switch r.Type = dhcpv4.MessageType(t[0]); r.Type {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform:
	default:
		return nil, dropReply
	}
	r.readClient()
	r.readRelay()
	return r, nil
}

// readClient finds out which program of the machine is speaking.
func (r *Request) readClient() {
	for b := r.packet.Options.Get(dhcpv4.OptionClientSystemArchitectureType); len(b) >= 2; b = b[2:] {
		r.Archs = append(r.Archs, uint16(b[0])<<8|uint16(b[1]))
	}
	switch {
	case isIPXE(r.packet):
		r.IPXE = true
	case strings.HasPrefix(r.VendorClass, "HTTPClient"):
		r.HTTP = true
	case strings.HasPrefix(r.VendorClass, "PXEClient"):
		r.PXE = true
	default:
		return
	}
	if len(r.Archs) == 0 {
		// The vendor class repeats it: PXEClient:Arch:00007:UNDI:003016 (PXE 2.1 table 2-1).
		var a uint16
		_, class, _ := strings.Cut(r.VendorClass, ":Arch:")
		if _, err := fmt.Sscanf(class, "%05d", &a); err == nil {
			r.Archs = []uint16{a}
		}
	}
}

func (r *Request) readRelay() {
	for code, v := range subOptions(r.packet.Options.Get(dhcpv4.OptionRelayAgentInformation)) {
		switch code {
		case 1:
			r.Circuit = string(v)
		case 2:
			r.Remote = string(v)
		}
	}
}

// wants reports whether the machine asked for an option (option 55, RFC 2132 §9.8). One that has no such
// list wants everything.
func (r *Request) wants(code dhcpv4.OptionCode) bool {
	list := r.packet.Options.Get(dhcpv4.OptionParameterRequestList)
	if list == nil {
		return true
	}
	for _, c := range list {
		if c == code.Code() {
			return true
		}
	}
	return false
}

// addr is ip as a value; zero if it is not an address or 0.0.0.0.
func addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
