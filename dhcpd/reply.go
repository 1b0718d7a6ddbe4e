package dhcpd

import (
	"encoding/binary"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// answer is what was decided about one request; it holds all that the reply says.
type answer struct {
	req *Request
	// kind is the type of the reply, or bootReply; MessageTypeNone is silence, for the reason why.
	kind dhcpv4.MessageType
	// addr is the address that the machine gets; zero for NAK and for the answer to INFORM.
	addr   netip.Addr
	subnet *Subnet
	host   Host
	file   string // what to boot; empty is nothing
	why    string // of a NAK and of silence
	// direct: it says what to boot, and has no address; see proxy.go.
	direct bool
	quirk  *quirk // of the machine; nil for none
}

// The least size of an IP datagram that every client accepts (RFC 2132 §9.10), and what of it is not DHCP.
const (
	minMessage  = 576
	maxMessage  = 1500 // whatever the client says: more would not leave in one frame, and firmware joins no fragments
	ipUDPHeader = 20 + 8
)

// build appends the reply to a.req to b (RFC 2131 §4.3.1 table 3). ok is false, and b as it was, if what must be
// said does not fit into what the machine accepts.
func (a *answer) build(b []byte) (_ []byte, ok bool) {
	limit := a.limit()
	w := writer{answer: a, start: len(b)}
	out := w.reply(b)
	for _, c := range expendable {
		if len(out)-w.start <= limit || w.overload(limit) {
			return w.b, true
		}
		w.without.add(c.Code())
		out = w.reply(out[:w.start])
	}
	return w.b, len(out)-w.start <= limit || w.overload(limit)
}

// limit is how large the DHCP message may be.
func (a *answer) limit() int {
	if a.kind == bootReply {
		return a.req.bootpLimit()
	}
	limit := minMessage
	if v := a.req.get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
		limit = min(max(limit, int(binary.BigEndian.Uint16(v))), maxMessage)
	}
	return limit - ipUDPHeader
}

// expendable are the options to leave out, in this order, when an answer is too large for the machine: first what it
// has elsewhere as well, or has a default for; what it cannot reach its network without is not among them. Without
// the routes in option 121 it is told its router in option 3.
var expendable = [...]dhcpv4.OptionCode{
	dhcpv4.OptionTFTPServerName, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionMessage,
	dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	dhcpv4.OptionDomainName, dhcpv4.OptionHostName, dhcpv4.OptionDomainNameServer,
	optionMSRoutes, dhcpv4.OptionClasslessStaticRoute,
}

// options writes all that the reply says. Options come in the order of their codes, but for those that come first, and
// relay agent information last (RFC 3046 §2.1): RFC 2131 has no order, but there is firmware that looks for the
// message type where the common servers have it.
func (w *writer) options() {
	r, server := w.req, w.req.Server.As4()
	if w.kind == bootReply {
		w.parameters()
		if w.file != "" {
			w.boot(server)
		}
		w.echo(dhcpv4.OptionRelayAgentInformation)
		return
	}
	w.put(dhcpv4.OptionDHCPMessageType, byte(w.kind))
	identity := r.identity().As4()
	w.put(dhcpv4.OptionServerIdentifier, identity[:]...)
	nak := w.kind == dhcpv4.MessageTypeNak
	boots, network := w.file != "", !nak && !w.direct
	if w.addr.IsValid() {
		w.seconds(dhcpv4.OptionIPAddressLeaseTime, w.subnet.lease())
	}
	if network {
		w.parameters()
	}
	if v := w.pxeOptions(); v != nil {
		w.put(dhcpv4.OptionVendorSpecificInformation, v...)
	}
	if nak {
		w.text(dhcpv4.OptionMessage, w.why)
	}
	if w.addr.IsValid() {
		w.times()
	}
	if class := w.vendorClass(); class != "" {
		w.text(dhcpv4.OptionClassIdentifier, class)
	}
	w.echo(dhcpv4.OptionClientIdentifier) // RFC 6842 §3
	if boots {
		w.boot(server)
	}
	if w.kind == dhcpv4.MessageTypeAck && r.Type == dhcpv4.MessageTypeDiscover {
		w.put(dhcpv4.OptionRapidCommit) // RFC 4039 §4
	}
	if r.PXE || r.HTTP {
		// Without it PXE ROMs do not take an answer for theirs (PXE 2.1 §2.2.3).
		w.echo(dhcpv4.OptionClientMachineIdentifier)
	}
	if r.selected {
		w.echo(dhcpv4.OptionSubnetSelection) // RFC 3011 §2
	}
	if network && w.classless() {
		w.routes(dhcpv4.OptionClasslessStaticRoute)
	}
	if boots && r.IPXE && !w.direct && r.wants(dhcpv4.OptionEtherboot) {
		w.put(dhcpv4.OptionEtherboot, ipxeNoProxy...)
	}
	if network {
		w.oldRoutes()
	}
	w.echo(dhcpv4.OptionRelayAgentInformation) // RFC 3046 §2.2
}

// times says when to renew: at a half, and at seven eighths from anybody, which are the client's defaults as well (RFC
// 2131 §4.4.5).
func (w *writer) times() {
	l := w.subnet.lease()
	if w.req.wants(dhcpv4.OptionRenewTimeValue) {
		w.seconds(dhcpv4.OptionRenewTimeValue, l/2)
	}
	if w.req.wants(dhcpv4.OptionRebindingTimeValue) {
		w.seconds(dhcpv4.OptionRebindingTimeValue, l*7/8)
	}
}

// parameters says what the machine asked for and its subnet has.
func (w *writer) parameters() {
	n, r := w.subnet, w.req
	mask, broadcast := n.mask(), n.broadcast().As4()
	if r.wants(dhcpv4.OptionSubnetMask) {
		w.put(dhcpv4.OptionSubnetMask, mask[:]...)
	}
	w.router()
	if len(n.DNS) > 0 && r.wants(dhcpv4.OptionDomainNameServer) {
		w.addrs(dhcpv4.OptionDomainNameServer, n.DNS)
	}
	if w.host.Hostname != "" && r.wants(dhcpv4.OptionHostName) {
		w.text(dhcpv4.OptionHostName, w.host.Hostname)
	}
	if n.Domain != "" && r.wants(dhcpv4.OptionDomainName) {
		w.text(dhcpv4.OptionDomainName, n.Domain)
	}
	if r.wants(dhcpv4.OptionBroadcastAddress) {
		w.put(dhcpv4.OptionBroadcastAddress, broadcast[:]...)
	}
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
func (w *writer) boot(server [4]byte) {
	r, fixed := w.req, w.b[w.start:]
	copy(fixed[atSIADDR:], server[:])
	name := r.Server.AppendTo(w.name[:0])
	copy(fixed[atSNAME:], name)
	fits := len(w.file) < atCookie-atFile
	if fits {
		copy(fixed[atFile:], w.file)
	}
	if w.asks(dhcpv4.OptionTFTPServerName) {
		w.put(dhcpv4.OptionTFTPServerName, name...)
	}
	if r.HTTP || !fits || w.asks(dhcpv4.OptionBootfileName) {
		w.text(dhcpv4.OptionBootfileName, w.file)
	}
}
