package dhcpd

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// quarantineTime is how long nobody gets an address that a client found in use.
const quarantineTime = 10 * time.Minute

// Why a REQUEST is refused: option 56 of the NAK, and the reason in its event.
const (
	nakSubnet = "address is not of this network"
	nakFixed  = "this machine has another fixed address"
	nakLeased = "this machine has a lease of another address"
	nakTaken  = "address belongs to another machine"
)

// decide answers one request, and notes in d what that does to the leases (RFC 2131 §4.3).
func (d *round) decide(r *Request, h Host) answer {
	switch {
	case r.Subnet == nil:
		return silence(r, dropSubnet)
	case h.Ignore:
		return silence(r, dropIgnored)
	case r.Type == dhcpv4.MessageTypeNone && (d.Proxy || r.pxe):
		return silence(r, dropBOOTP) // who knows no DHCP knows no PXE
	case d.Proxy || r.pxe:
		return d.direct(r, h)
	}
	switch r.Type {
	case dhcpv4.MessageTypeNone:
		return d.bootp(r, h)
	case dhcpv4.MessageTypeDiscover:
		return d.discover(r, h)
	case dhcpv4.MessageTypeRequest:
		return d.request(r, h)
	case dhcpv4.MessageTypeDecline:
		return d.decline(r)
	case dhcpv4.MessageTypeRelease:
		return d.release(r)
	default:
		return d.inform(r, h)
	}
}

func silence(r *Request, why drop) answer { return answer{req: r, subnet: r.Subnet, why: string(why)} }

// reply is an answer with an address; zero for INFORM.
func (d *round) reply(kind dhcpv4.MessageType, r *Request, h Host, a netip.Addr, n *Subnet) answer {
	q := d.quirk(r)
	return answer{req: r, kind: kind, addr: a, subnet: n, host: h, file: d.bootFile(r, h, q), quirk: q}
}

func (d *round) discover(r *Request, h Host) answer {
	a, n := d.fixed(r, h)
	switch {
	case n != nil:
	case !d.admits(r):
		return silence(r, dropNewcomer)
	default:
		a, n = d.choose(r)
	}
	if n == nil {
		return d.full(r)
	}
	if n.RapidCommit && r.carries(dhcpv4.OptionRapidCommit) && !r.probe() {
		d.lend(r, h, a, n.lease())
		return d.reply(dhcpv4.MessageTypeAck, r, h, a, n) // RFC 4039 §3.1
	}
	if !r.probe() { // it takes no lease, and anybody can say that he is one
		d.offers.put(r.MAC, a, d.now)
	}
	return d.reply(dhcpv4.MessageTypeOffer, r, h, a, n)
}

// full is the silence for a machine that no address is left for, or none is known to be free yet.
func (d *round) full(r *Request) answer {
	if p := d.prober(r); p != nil && p.await(r.subnets, r.MAC, d.now) {
		return silence(r, dropProbing)
	}
	d.complain("full "+r.Subnet.Prefix.String(), "no address is left for a machine: make the range larger or the lease shorter",
		"subnet", r.Subnet.Prefix, "range", r.Subnet.Range.First.String()+"-"+r.Subnet.Range.Last.String(), "mac", r.MAC)
	return silence(r, dropFull)
}

// lend notes that r's machine has a for a time. Until that is committed, and if it fails, the address stays promised.
func (d *round) lend(r *Request, h Host, a netip.Addr, term time.Duration) {
	name := h.Hostname
	if name == "" {
		name = r.Hostname
	}
	d.put(lease.Lease{MAC: r.MAC, Addr: a, Expires: d.now.Add(term), Hostname: name})
	d.offers.put(r.MAC, a, d.now)
}

// request covers all four that RFC 2131 §4.3.2 tells apart. A machine that chose us (SELECTING), remembers an
// address (INIT-REBOOT) or has one (RENEWING, REBINDING) gets it if it could get it by a DISCOVER as well.
// Where the RFC has a server be silent about a client that it does not know, this one grants what is free and
// refuses the rest: it is authoritative, and a machine must not wait for a timeout after the leases were lost.
func (d *round) request(r *Request, h Host) answer {
	if d.elsewhere(r) {
		d.offers.drop(r.MAC)
		return silence(r, dropOther)
	}
	a := r.Requested
	if r.Client.IsValid() {
		a = r.Client
	}
	if !a.IsValid() {
		return silence(r, dropNoAddress)
	}
	n, why := d.entitled(r, h, a)
	if why != "" {
		return answer{req: r, kind: dhcpv4.MessageTypeNak, subnet: r.Subnet, host: h, why: why}
	}
	if fixed := h.Address == a; !fixed && !d.admits(r) {
		return silence(r, dropNewcomer)
	}
	d.lend(r, h, a, n.lease())
	return d.reply(dhcpv4.MessageTypeAck, r, h, a, n)
}

// elsewhere reports whether the machine chose another server. The address that its relay has us take is ours (RFC 5107
// §4).
func (s *Server) elsewhere(r *Request) bool {
	if r.pxe && r.Unicast {
		return false // some repeat the other server's, but ask this one
	}
	return r.ServerID.IsValid() && r.ServerID != r.Server && r.ServerID != r.Override && !s.isOurs(r.ServerID)
}

// entitled says whether the machine may have a; why is empty then, and n its subnet.
func (d *round) entitled(r *Request, h Host, a netip.Addr) (n *Subnet, why string) {
	if n = subnetOf(r.subnets, a); n == nil {
		return nil, nakSubnet
	}
	if fixed, m := d.fixed(r, h); m != nil {
		if a != fixed {
			return nil, nakFixed
		}
		return m, ""
	}
	if !d.available(a, n, r.MAC) {
		return nil, nakTaken
	}
	// The operating system remembers another address than the ROM just got: they must share one.
	l, ok := d.byMAC(r.MAC)
	if ok && l.Addr != a && l.Active(d.now) && d.offers.to(r.MAC) != a {
		if m := subnetOf(r.subnets, l.Addr); m != nil && d.available(l.Addr, m, r.MAC) {
			return nil, nakLeased
		}
	}
	return n, ""
}

// decline puts an address that its new holder found in use into quarantine (RFC 2131 §4.3.3).
func (d *round) decline(r *Request) answer {
	l, ok := d.byMAC(r.MAC)
	a := r.Requested
	if !a.IsValid() || a != d.offers.to(r.MAC) && (!ok || l.Addr != a) {
		return silence(r, dropNotHolder)
	}
	d.offers.drop(r.MAC)
	d.put(lease.Lease{MAC: lease.Quarantine(a), Addr: a, Expires: d.now.Add(quarantineTime), Declined: true})
	d.log().Warn("dhcpd: a machine found its address in use by somebody else", "mac", r.MAC, "address", a, "quarantine", quarantineTime)
	return answer{req: r, addr: a, subnet: r.Subnet}
}

// release ends a lease (RFC 2131 §4.3.4). It stays in the table, expired, so that the machine gets the same
// address when it comes back.
func (d *round) release(r *Request) answer {
	l, ok := d.byMAC(r.MAC)
	if !ok || l.Addr != r.Client || !l.Active(d.now) {
		return silence(r, dropNotHolder)
	}
	d.offers.drop(r.MAC)
	l.Expires = d.now
	d.put(l)
	return answer{req: r, addr: l.Addr, subnet: r.Subnet}
}

// inform tells a machine that has an address by other means about its network (RFC 2131 §4.3.5).
func (d *round) inform(r *Request, h Host) answer {
	n := subnetOf(r.subnets, r.Client)
	if n == nil {
		return silence(r, dropNoAddress)
	}
	return d.reply(dhcpv4.MessageTypeAck, r, h, netip.Addr{}, n)
}
