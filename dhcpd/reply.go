package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// answer is what was decided about one request; it holds all that the reply says.
type answer struct {
	req *Request
	// kind is the type of the reply; MessageTypeNone is silence, for the reason why.
	kind dhcpv4.MessageType
	// addr is the address that the machine gets; zero for NAK and for the answer to INFORM.
	addr   netip.Addr
	subnet *Subnet
	host   Host
	file   string // what to boot; empty is nothing
	why    string // of a NAK and of silence
}

// The least size of an IP datagram that every client accepts (RFC 2132 §9.10), and what of it is not DHCP.
const (
	minMessage  = 576
	ipUDPHeader = 20 + 8
)

// build makes the reply to a.req (RFC 2131 §4.3.1 table 3). It returns nil if what must be said does not fit
// into what the machine accepts.
func (a *answer) build() []byte {
	r := a.req
	p := &dhcpv4.DHCPv4{
		OpCode:         dhcpv4.OpcodeBootReply,
		HWType:         iana.HWTypeEthernet,
		TransactionID:  r.packet.TransactionID,
		Flags:          r.packet.Flags,
		GatewayIPAddr:  r.packet.GatewayIPAddr,
		ClientHWAddr:   r.packet.ClientHWAddr,
		ClientIPAddr:   net.IPv4zero,
		YourIPAddr:     net.IPv4zero,
		ServerIPAddr:   net.IPv4zero,
		ServerHostName: "",
		Options:        dhcpv4.Options{},
	}
	set := func(code dhcpv4.OptionCode, v ...byte) { p.Options[code.Code()] = v }
	set(dhcpv4.OptionDHCPMessageType, byte(a.kind))
	set(dhcpv4.OptionServerIdentifier, r.Server.AsSlice()...)
	a.echo(set)
	if a.kind == dhcpv4.MessageTypeNak {
		if r.Relay.IsValid() {
			p.SetBroadcast() // RFC 2131 §4.3.2: the relay must not unicast it to an address that is wrong
		}
		set(dhcpv4.OptionMessage, []byte(a.why)...)
		return a.fit(p)
	}
	if a.kind == dhcpv4.MessageTypeAck {
		p.ClientIPAddr = r.packet.ClientIPAddr
	}
	if a.addr.IsValid() {
		p.YourIPAddr = a.addr.AsSlice()
		a.times(set)
	}
	a.parameters(set)
	if a.file != "" {
		a.boot(p, set)
	}
	return a.fit(p)
}

type setter func(code dhcpv4.OptionCode, v ...byte)

// echo gives back what the client and the relay want to see again: RFC 6842 §3, RFC 3046 §2.2, and the
// machine identifier, without which PXE ROMs do not take an answer for theirs (PXE 2.1 §2.2.3).
func (a *answer) echo(set setter) {
	codes := []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation}
	if a.req.PXE || a.req.HTTP {
		codes = append(codes, dhcpv4.OptionClientMachineIdentifier)
	}
	for _, c := range codes {
		if v := a.req.packet.Options.Get(c); len(v) > 0 {
			set(c, v...)
		}
	}
}

// times says how long the address is the machine's. Renewal at a half and rebinding at seven eighths are the
// client's defaults as well (RFC 2131 §4.4.5).
func (a *answer) times(set setter) {
	l := a.subnet.lease()
	set(dhcpv4.OptionIPAddressLeaseTime, seconds(l)...)
	if a.req.wants(dhcpv4.OptionRenewTimeValue) {
		set(dhcpv4.OptionRenewTimeValue, seconds(l/2)...)
	}
	if a.req.wants(dhcpv4.OptionRebindingTimeValue) {
		set(dhcpv4.OptionRebindingTimeValue, seconds(l*7/8)...)
	}
}

func seconds(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(min(d/time.Second, 1<<32-2)))
}

// parameters sets what the machine asked for and its subnet has.
func (a *answer) parameters(set setter) {
	n := a.subnet
	ask := func(code dhcpv4.OptionCode, v ...byte) {
		if len(v) > 0 && a.req.wants(code) {
			set(code, v...)
		}
	}
	mask, broadcast := n.mask(), n.broadcast().As4()
	ask(dhcpv4.OptionSubnetMask, mask[:]...)
	ask(dhcpv4.OptionBroadcastAddress, broadcast[:]...)
	if n.Router.IsValid() {
		ask(dhcpv4.OptionRouter, n.Router.AsSlice()...)
	}
	var dns []byte
	for _, d := range n.DNS {
		dns = append(dns, d.AsSlice()...)
	}
	ask(dhcpv4.OptionDomainNameServer, dns...)
	ask(dhcpv4.OptionDomainName, []byte(n.Domain)...)
	ask(dhcpv4.OptionHostName, []byte(a.host.Hostname)...)
}

// The sub-options that keep clients from looking for another boot server.
var (
	// PXE 2.1 table 2-1: PXE_DISCOVERY_CONTROL (6) bit 3: use the boot file of this answer and ask nobody on
	// port 4011. Then the end of the sub-options.
	pxeDiscoveryControl = []byte{6, 1, 8, 255}
	// iPXE's setting no-pxedhcp, sub-option 176 of its option 175: without it in the OFFER, iPXE waits for
	// proxyDHCP servers before it sends its REQUEST (src/net/udp/dhcp.c; measured: 3 s).
	ipxeNoProxy = []byte{176, 1, 1}
)

// boot says what to load and from where: in the fixed fields, which every ROM reads, and in the options 66
// and 67 for those that ask for them.
func (a *answer) boot(p *dhcpv4.DHCPv4, set setter) {
	r := a.req
	server := r.Server.String()
	p.ServerIPAddr = r.Server.AsSlice()
	p.ServerHostName = server
	if len(a.file) < 128 {
		p.BootFileName = a.file
	}
	if r.HTTP || p.BootFileName == "" || r.wants(dhcpv4.OptionBootfileName) {
		set(dhcpv4.OptionBootfileName, []byte(a.file)...)
	}
	if r.wants(dhcpv4.OptionTFTPServerName) {
		set(dhcpv4.OptionTFTPServerName, []byte(server)...)
	}
	switch {
	case r.PXE:
		set(dhcpv4.OptionClassIdentifier, []byte("PXEClient")...)
		set(dhcpv4.OptionVendorSpecificInformation, pxeDiscoveryControl...)
	case r.HTTP:
		// UEFI 2.10 §24.7.3.1: an answer without it is not for HTTP boot.
		set(dhcpv4.OptionClassIdentifier, []byte("HTTPClient")...)
	case r.IPXE && r.wants(dhcpv4.OptionEtherboot):
		set(dhcpv4.OptionEtherboot, ipxeNoProxy...)
	}
}

// expendable are the options to leave out, in this order, when an answer is too large for the machine.
var expendable = []dhcpv4.OptionCode{
	dhcpv4.OptionTFTPServerName, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionMessage,
	dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	dhcpv4.OptionDomainName, dhcpv4.OptionHostName, dhcpv4.OptionDomainNameServer,
}

// fit encodes p into the size that the machine accepts (option 57, RFC 2132 §9.10).
func (a *answer) fit(p *dhcpv4.DHCPv4) []byte {
	limit := minMessage
	if v := a.req.packet.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
		limit = max(limit, int(binary.BigEndian.Uint16(v)))
	}
	limit -= ipUDPHeader
	b := encode(p)
	for _, c := range expendable {
		if len(b) <= limit {
			break
		}
		delete(p.Options, c.Code())
		b = encode(p)
	}
	if len(b) > limit {
		return nil
	}
	return b
}
