package dhcpd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease"
)

// Request is one packet of a machine, decoded. It must not be changed, and not be kept: it is used again for another
// one. What its fields hold may be kept, Archs as a copy.
type Request struct {
	// MAC is the machine's hardware address (chaddr), which names it.
	MAC lease.MAC
	// XID is the number that the machine gave this exchange.
	XID [4]byte
	// Type is the message type (option 53); MessageTypeNone for BOOTP.
	Type dhcpv4.MessageType

	// PXE: firmware that boots over TFTP (option 60 starts with PXEClient, or is one of quirks). HTTP: UEFI HTTP boot (option 60
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
	// Link is the address that the relay says the machine's network has (sub-option 5, RFC 3527), if it is not
	// the one of Relay; Override the one that it wants to stand for the server (sub-option 11, RFC 5107). Zero
	// if not told.
	Link, Override netip.Addr

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
	archs   [4]uint16 // what Archs is of, mostly
	pxe     bool      // it came in on the boot server's port
	// selected: the client named Subnet itself (option 118).
	selected bool
	// msg and datagram are valid only while the batch is answered.
	msg
	datagram *datagram
}

// Boots reports whether firmware or iPXE is speaking, and not an operating system.
func (r *Request) Boots() bool { return r.PXE || r.HTTP || r.IPXE }

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

// The reasons for silence.
const (
	dropMalformed drop = "malformed"  // not a DHCP packet
	dropTruncated drop = "truncated"  // longer than any packet that a client may send
	dropReply     drop = "reply"      // a BOOTREPLY, or a message type that only servers send
	dropBOOTP     drop = "bootp"      // BOOTP of a machine without a fixed address, where it is not lent any
	dropHardware  drop = "hardware"   // not Ethernet, or not a machine's address
	dropSubnet    drop = "no-subnet"  // from a network that is not configured
	dropIgnored   drop = "ignored"    // by policy
	dropOther     drop = OtherServer  // the machine chose another server
	dropFull      drop = "exhausted"  // no address is left
	dropProbing   drop = Probing      // it is not known yet which address is free
	dropNewcomer  drop = "newcomer"   // more unknown machines than Newcomers lets in
	dropCommit    drop = "commit"     // the lease could not be made durable
	dropNotHolder drop = "not-holder" // releases or declines an address that it does not have
	dropNoAddress drop = "no-address" // a REQUEST or INFORM without the address that it is about
	dropTooLarge  drop = "too-large"  // the answer does not fit into what the machine accepts
	dropSend      drop = "send"       // the answer could not be sent

	// In proxy mode, and on port 4011.
	dropNotBooting drop = "not-booting" // no firmware, or nothing that is about booting
	dropNoFile     drop = "no-file"     // there is nothing for it to boot
	dropAddress    drop = "address"     // about an address, which is the other server's to give
)

// drops are all of them.
var drops = []drop{dropMalformed, dropTruncated, dropReply, dropBOOTP, dropHardware, dropSubnet, dropIgnored, dropOther, dropFull, dropProbing, dropNewcomer,
	dropCommit, dropNotHolder, dropNoAddress, dropTooLarge, dropSend,
	dropNotBooting, dropNoFile, dropAddress}

// requestTypes are what machines send.
var requestTypes = []dhcpv4.MessageType{dhcpv4.MessageTypeNone, dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
	dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform}

// parse reads a packet into r; it gives the reason if that is not to be answered. names keeps what many machines say alike.
func (r *Request) parse(b []byte, names names) drop {
	*r = Request{subnets: r.subnets[:0]}
	m := &r.msg
	switch {
	case !m.read(b):
		return dropMalformed
	case b[0] != byte(dhcpv4.OpcodeBootRequest):
		return dropReply
	case b[atHTYPE] != byte(iana.HWTypeEthernet) || b[atHLEN] != byte(len(r.MAC)):
		return dropHardware
	}
	copy(r.MAC[:], b[atCHADDR:])
	copy(r.XID[:], b[atXID:])
	if r.MAC.Group() || r.MAC == (lease.MAC{}) {
		return dropHardware
	}
	switch t := m.get(dhcpv4.OptionDHCPMessageType); {
	case !m.carries(dhcpv4.OptionDHCPMessageType): // BOOTP: requestTypes has MessageTypeNone
	case len(t) != 1 || t[0] == 0:
		return dropMalformed
	default:
		r.Type = dhcpv4.MessageType(t[0])
	}
	if !slices.Contains(requestTypes, r.Type) {
		return dropReply
	}
	r.Broadcast = b[atFlags]&0x80 != 0
	r.Client, r.Relay = addr(b[atCIADDR:atYIADDR]), addr(b[atGIADDR:atCHADDR])
	r.Requested = addr(m.get(dhcpv4.OptionRequestedIPAddress))
	r.ServerID = addr(m.get(dhcpv4.OptionServerIdentifier))
	r.readClient(names)
	r.readRelay(names)
	return ""
}

// readClient finds out which program of the machine is speaking.
func (r *Request) readClient(names names) {
	m := &r.msg
	r.VendorClass = names.get(text(m.get(dhcpv4.OptionClassIdentifier)))
	r.UserClass = names.get(text(m.get(dhcpv4.OptionUserClassInformation)))
	r.Hostname = hostname(text(m.get(dhcpv4.OptionHostName)))
	r.UUID = machineID(m.get(dhcpv4.OptionClientMachineIdentifier))
	r.Archs = r.archs[:0]
	for b := m.get(dhcpv4.OptionClientSystemArchitectureType); len(b) >= 2; b = b[2:] {
		r.Archs = append(r.Archs, uint16(b[0])<<8|uint16(b[1]))
	}
	switch {
	case isIPXE(r.UserClass) || m.carries(dhcpv4.OptionEtherboot):
		r.IPXE = true
	case strings.HasPrefix(r.VendorClass, "HTTPClient"):
		r.HTTP = true
	case strings.HasPrefix(r.VendorClass, "PXEClient"), isFirmware(r.VendorClass):
		r.PXE = true
	default:
		return
	}
	if len(r.Archs) == 0 {
		// The vendor class repeats it: PXEClient:Arch:00007:UNDI:003016 (PXE 2.1 table 2-1).
		var a uint16
		_, class, _ := strings.Cut(r.VendorClass, ":Arch:")
		if _, err := fmt.Sscanf(class, "%05d", &a); err == nil {
			r.Archs = append(r.Archs, a)
		}
	}
}

func (r *Request) readRelay(names names) {
	for b := r.msg.get(dhcpv4.OptionRelayAgentInformation); len(b) >= 2 && len(b) >= 2+int(b[1]); b = b[2+int(b[1]):] {
		v := b[2 : 2+int(b[1])]
		switch b[0] {
		case 1:
			r.Circuit = names.get(v)
		case 2:
			r.Remote = names.get(v)
		case 5:
			r.Link = r.fromRelay(v)
		case 11:
			r.Override = r.fromRelay(v)
		}
	}
}

// fromRelay is v as an address; zero unless a relay can have said so: a machine on the link must not choose its network.
func (r *Request) fromRelay(v []byte) netip.Addr {
	if !r.Relay.IsValid() {
		return netip.Addr{}
	}
	return addr(v)
}

// names holds each text that machines say once: a rack is full of the same vendor classes and circuits.
type names map[string]string

// maxNames bounds it: from a client that makes them up it starts anew.
const maxNames = 1024

func (n names) get(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	s, ok := n[string(b)]
	if !ok {
		if len(n) >= maxNames {
			clear(n)
		}
		s = string(b)
		n[s] = s
	}
	return s
}

// addr is b as an address; zero if it is none or 0.0.0.0.
func addr(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
