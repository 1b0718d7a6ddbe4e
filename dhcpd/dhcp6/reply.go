package dhcp6

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// answer is what was decided about one message; it holds all that the reply says.
type answer struct {
	req *Request
	// kind is the type of the reply; zero is silence, for the reason why.
	kind dhcpv6.MessageType
	why  string
	// addr is the address that it is about; zero for none. commits says that it is true only once the leases of its
	// batch are durable.
	addr    netip.Addr
	commits bool
	subnet  *Subnet
	host    Host
	id      []byte                // the server's DUID
	file    string                // the URL to boot; empty for none
	status  *dhcpv6.OptStatusCode // of the whole message; nil for none
	bare    bool                  // the status is all that it says
	rapid   bool                  // it answers a Solicit at once
	// What it says of the client's IA_NA beside addr: that its addresses are not of this network, that it is not
	// known, that every address but addr must no longer be used.
	notOnLink, noBinding, withdraws bool
}

const (
	// maxMessage is what fits into the smallest MTU that IPv6 has (RFC 8200 §5), and so needs no fragments on any
	// path, relays' headers included.
	maxMessage = 1280 - 40 - 8
	// pxeEnterprise is Intel's enterprise number, under which UEFI firmware says what it is (UEFI 2.10 §24.7.3.1).
	pxeEnterprise = 343
	// preferred makes a client take this offer without waiting for others (RFC 8415 §18.2.1).
	preferred = 255
)

// build makes the reply, in the wrappings that the relays want back. It returns nil if it does not fit.
func (a *answer) build() []byte {
	m := &dhcpv6.Message{MessageType: a.kind, TransactionID: a.req.XID}
	add := func(o dhcpv6.Option) { m.Options.Add(o) }
	if id := a.req.message.GetOneOption(dhcpv6.OptionClientID); id != nil {
		add(id)
	}
	if a.status != nil {
		add(a.status)
	}
	if !a.bare {
		a.identities(add)
		a.boot(add)
		a.parameters(add)
	}
	if a.rapid {
		add(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	// Last, and not the URL: old firmware (EDK2 before 2018) reads a URL up to a zero byte, with which the code of
	// any option begins.
	add(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: a.id})
	return a.fit(m)
}

// identities answers every IA: the first IA_NA with the address, others with why not.
func (a *answer) identities(add func(dhcpv6.Option)) {
	o := a.req.message.Options
	for _, ia := range o.IANA() {
		if ia == a.req.ia {
			add(a.identity())
		} else {
			add(refuse(ia.IaId, iana.StatusNoAddrsAvail))
		}
	}
	if a.noBinding {
		return // only who asks for addresses is told that there are none
	}
	for _, ia := range o.IATA() {
		add(&dhcpv6.OptIATA{IaId: ia.IaId, Options: statusOptions(iana.StatusNoAddrsAvail)})
	}
	for _, ia := range o.IAPD() {
		add(&dhcpv6.OptIAPD{IaId: ia.IaId, Options: dhcpv6.PDOptions{Options: statusOptions(iana.StatusNoPrefixAvail).Options}})
	}
}

func statusOptions(code iana.StatusCode) dhcpv6.IdentityOptions {
	return dhcpv6.IdentityOptions{Options: dhcpv6.Options{&dhcpv6.OptStatusCode{StatusCode: code}}}
}

func refuse(id [4]byte, code iana.StatusCode) dhcpv6.Option {
	return &dhcpv6.OptIANA{IaId: id, Options: statusOptions(code)}
}

// identity answers the IA_NA that the address is for.
func (a *answer) identity() dhcpv6.Option {
	id := a.req.ia.IaId
	switch {
	case a.notOnLink:
		return refuse(id, iana.StatusNotOnLink)
	case a.noBinding:
		return refuse(id, iana.StatusNoBinding)
	case !a.addr.IsValid() && !a.withdraws:
		return refuse(id, iana.StatusNoAddrsAvail)
	}
	ia := &dhcpv6.OptIANA{IaId: id}
	if a.addr.IsValid() {
		l := a.subnet.lease()
		ia.T1, ia.T2 = l/2, l*4/5 // RFC 8415 §21.4
		ia.Options.Add(held(a.addr, l))
	}
	for _, h := range a.req.hints {
		if a.withdraws && h != a.addr {
			ia.Options.Add(held(h, 0))
		}
	}
	return ia
}

func held(a netip.Addr, l time.Duration) dhcpv6.Option {
	return &dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: l, ValidLifetime: l}
}

// boot says what to load (RFC 5970 §3).
func (a *answer) boot(add func(dhcpv6.Option)) {
	r := a.req
	if a.kind == dhcpv6.MessageTypeAdvertise && r.Boots() && a.addr.IsValid() {
		// This is the boot server: there is nothing to wait for.
		add(dhcpv6.OptPreference(preferred))
	}
	if a.file == "" || !r.wants(dhcpv6.OptionBootfileURL) {
		return
	}
	add(dhcpv6.OptBootFileURL(a.file))
	if len(a.host.Params) > 0 && r.wants(dhcpv6.OptionBootfileParam) {
		add(dhcpv6.OptBootFileParam(a.host.Params...))
	}
	if r.HTTP {
		// UEFI 2.10 §24.7.3.1: an answer without it is not for HTTP boot.
		add(&dhcpv6.OptVendorClass{EnterpriseNumber: pxeEnterprise, Data: [][]byte{[]byte("HTTPClient")}})
	}
}

// parameters sets what the client asked for and its subnet has.
func (a *answer) parameters(add func(dhcpv6.Option)) {
	n := a.subnet
	if len(n.DNS) > 0 && a.req.wants(dhcpv6.OptionDNSRecursiveNameServer) {
		var servers []net.IP
		for _, s := range n.DNS {
			servers = append(servers, s.AsSlice())
		}
		add(dhcpv6.OptDNS(servers...))
	}
	if n.Domain != "" && a.req.wants(dhcpv6.OptionDomainSearchList) {
		add(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{n.Domain}}))
	}
	if a.req.Type == dhcpv6.MessageTypeInformationRequest && a.req.wants(dhcpv6.OptionInformationRefreshTime) {
		add(dhcpv6.OptInformationRefreshTime(max(n.lease(), leastRefresh)))
	}
}

// leastRefresh is IRT_MINIMUM (RFC 8415 §7.6).
const leastRefresh = 600 * time.Second

// expendable are the options to leave out, in this order, when a reply is too large.
var expendable = []dhcpv6.OptionCode{
	dhcpv6.OptionInformationRefreshTime, dhcpv6.OptionIATA, dhcpv6.OptionIAPD,
	dhcpv6.OptionDomainSearchList, dhcpv6.OptionDNSRecursiveNameServer,
}

// fit encodes m; nil if it is too large.
func (a *answer) fit(m *dhcpv6.Message) []byte {
	b := wrap(m, a.req.relays).ToBytes()
	for _, c := range expendable {
		if len(b) <= maxMessage {
			break
		}
		m.Options.Del(c)
		b = wrap(m, a.req.relays).ToBytes()
	}
	if len(b) > maxMessage {
		return nil
	}
	return b
}

// wrap makes the Relay-reply of every relay around m (RFC 8415 §19.3).
func wrap(m dhcpv6.DHCPv6, relays []*dhcpv6.RelayMessage) dhcpv6.DHCPv6 {
	for i := len(relays) - 1; i >= 0; i-- {
		f := relays[i]
		out := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayReply, HopCount: f.HopCount, LinkAddr: f.LinkAddr, PeerAddr: f.PeerAddr}
		for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionInterfaceID, dhcpv6.OptionRelayPort} {
			if o := f.GetOneOption(code); o != nil {
				out.AddOption(o)
			}
		}
		out.AddOption(dhcpv6.OptRelayMessage(m))
		m = out
	}
	return m
}

// The ports of DHCPv6 (RFC 8415 §7.2).
const (
	clientPort = 546
	serverPort = 547
)

// route is where the reply goes: back to who sent the packet, and there to the port of clients or of relays; one that
// says that it uses another port (RFC 8357) gets it there.
func (a *answer) route() netip.AddrPort {
	port := uint16(clientPort)
	if relays := a.req.relays; len(relays) > 0 {
		port = serverPort
		if relays[0].GetOneOption(dhcpv6.OptionRelayPort) != nil {
			port = a.req.from.Port()
		}
	}
	return netip.AddrPortFrom(a.req.from.Addr(), port)
}
