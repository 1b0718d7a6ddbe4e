package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd/lease6"
)

// quarantineTime is how long nobody gets an address that a client found in use.
const quarantineTime = 10 * time.Minute

// decide answers one message, and notes in d what that does to the leases (RFC 8415 §18.3).
func (d *round) decide(r *Request, h Host) answer {
	switch {
	case r.message.Options.ServerID() != nil && !d.isMe(r):
		return silence(r, dropOther)
	case r.Subnet == nil:
		return silence(r, dropSubnet)
	case h.Ignore:
		return silence(r, dropIgnored)
	case r.unicast():
		return d.useMulticast(r)
	}
	switch r.Type {
	case dhcpv6.MessageTypeSolicit:
		return d.solicit(r, h)
	case dhcpv6.MessageTypeRequest:
		return d.request(r, h)
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		return d.renew(r, h)
	case dhcpv6.MessageTypeConfirm:
		return d.confirm(r)
	case dhcpv6.MessageTypeRelease:
		return d.release(r)
	case dhcpv6.MessageTypeDecline:
		return d.decline(r)
	default:
		return d.reply(dhcpv6.MessageTypeReply, r, h)
	}
}

// isMe reports whether r is for this server.
func (s *Server) isMe(r *Request) bool {
	id := r.message.Options.GetOne(dhcpv6.OptionServerID)
	return id != nil && slices.Equal(id.ToBytes(), s.id)
}

func silence(r *Request, why drop) answer { return answer{req: r, subnet: r.Subnet, why: string(why)} }

func (d *round) reply(kind dhcpv6.MessageType, r *Request, h Host) answer {
	return answer{req: r, kind: kind, subnet: r.Subnet, host: h, id: d.id, file: d.bootFile(r, h)}
}

// status is a Reply that says no more than a status.
func (d *round) status(r *Request, code iana.StatusCode) answer {
	return answer{req: r, kind: dhcpv6.MessageTypeReply, subnet: r.Subnet, id: d.id, status: &dhcpv6.OptStatusCode{StatusCode: code}, bare: true}
}

// useMulticast tells a client that it must not unicast, as it never got the option for that; some messages must not
// even be answered then (RFC 8415 §16, §18.3.2).
func (d *round) useMulticast(r *Request) answer {
	switch r.Type {
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return d.status(r, iana.StatusUseMulticast)
	}
	return silence(r, dropUnicast)
}

// solicit offers an address, or gives it at once to who wants that (Rapid Commit, RFC 8415 §18.3.1).
func (d *round) solicit(r *Request, h Host) answer {
	if r.ia == nil {
		return silence(r, dropNoIA)
	}
	if r.message.Options.GetOne(dhcpv6.OptionRapidCommit) != nil {
		a := d.grant(r, h, false)
		if a.rapid = a.commits; !a.rapid && a.kind != dhcpv6.MessageTypeNone {
			a.kind = dhcpv6.MessageTypeAdvertise
		}
		return a
	}
	a := d.reply(dhcpv6.MessageTypeAdvertise, r, h)
	addr, n := d.choose(r, false)
	if n == nil {
		d.complainFull(r)
		return a
	}
	if _, had := d.byKey(r.Key); !had && !h.known(r) && d.crowded() {
		d.complainCrowded(r)
		return a
	}
	a.addr, a.subnet = addr, n
	return a
}

func (d *round) complainFull(r *Request) {
	d.complain("full "+r.Subnet.Prefix.String(), "no address is left for a machine", "subnet", r.Subnet.Prefix, "client", r.Key)
}

func (d *round) complainCrowded(r *Request) {
	d.complain("crowded", "too many unknown machines have leases; known ones still get theirs", "limit", d.maxUnknown(),
		"subnet", r.Subnet.Prefix, "client", r.Key)
}

// request gives what was offered. A client that asks for an address of another network has to start anew (RFC 8415
// §18.3.2).
func (d *round) request(r *Request, h Host) answer {
	if r.ia == nil {
		return silence(r, dropNoIA)
	}
	for _, a := range r.hints {
		if subnetOf(r.subnets, a) == nil {
			a := d.reply(dhcpv6.MessageTypeReply, r, h)
			a.notOnLink = true
			return a
		}
	}
	return d.grant(r, h, false)
}

// grant makes a lease and the Reply that tells it.
func (d *round) grant(r *Request, h Host, renews bool) answer {
	a := d.reply(dhcpv6.MessageTypeReply, r, h)
	addr, n := d.choose(r, renews)
	if n == nil {
		d.complainFull(r)
		return a
	}
	ok, why := d.admit(r, h, n)
	switch {
	case why != "":
		d.complain("rate "+n.Prefix.String(), "unknown machines come too fast and have to ask again; known ones get their leases",
			"limit", d.unknownRate(), "subnet", n.Prefix, "client", r.Key)
		return silence(r, why)
	case !ok:
		d.complainCrowded(r)
		return a
	}
	until := d.now.Add(n.lease())
	d.put(lease6.Lease{Key: r.Key, Addr: addr, Expires: until, Unknown: !h.known(r)})
	d.sharers.use(r.Key, r.ia.IaId, until)
	a.addr, a.subnet, a.commits = addr, n, true
	return a
}

// renew prolongs a lease, and takes back every other address that the client says it has (RFC 8415 §18.3.4, §18.3.5).
// A client whose lease was forgotten gets its address again if nobody else has it. A Rebind goes to all servers: if
// none of its addresses is of a network of ours, another one will know.
func (d *round) renew(r *Request, h Host) answer {
	if r.ia == nil {
		return silence(r, dropNoIA)
	}
	ours := slices.ContainsFunc(r.hints, func(a netip.Addr) bool { return subnetOf(r.subnets, a) != nil })
	_, had := d.byKey(r.Key)
	switch {
	case r.Type == dhcpv6.MessageTypeRebind && !ours && !had:
		return silence(r, dropElsewhere)
	case r.Type == dhcpv6.MessageTypeRenew && !ours && !had:
		a := d.reply(dhcpv6.MessageTypeReply, r, h)
		a.noBinding = true
		return a
	}
	a := d.grant(r, h, true)
	a.withdraws = true
	return a
}

// confirm says whether the client's addresses fit the link that it is on now (RFC 8415 §18.3.3).
func (d *round) confirm(r *Request) answer {
	if len(r.hints) == 0 {
		return silence(r, dropNoIA)
	}
	for _, a := range r.hints {
		onLink := func(p netip.Prefix) bool { return p.Contains(a) }
		if subnetOf(r.subnets, a) == nil && !slices.ContainsFunc(r.link, onLink) {
			return d.status(r, iana.StatusNotOnLink)
		}
	}
	return d.status(r, iana.StatusSuccess)
}

// holds gives the lease of the client, if it is one of an address that it names.
func (d *round) holds(r *Request) (lease6.Lease, bool) {
	l, ok := d.byKey(r.Key)
	return l, ok && l.Active(d.now) && slices.Contains(r.hints, l.Addr)
}

// release ends a lease (RFC 8415 §18.3.7), once nothing of the machine uses the address. It stays in the table, expired, so that the machine gets the same
// address when it comes back.
func (d *round) release(r *Request) answer {
	a := d.status(r, iana.StatusSuccess)
	l, ok := d.holds(r)
	if !ok {
		a.bare, a.noBinding = false, r.ia != nil
		return a
	}
	if a.addr = l.Addr; d.sharers.release(r.Key, r.ia.IaId, d.now) {
		return a // the machine goes on to use it
	}
	l.Expires = d.now
	d.put(l)
	delete(d.full, subnetOf(r.subnets, l.Addr))
	a.commits = true
	return a
}

// decline puts an address that its holder found in use into quarantine (RFC 8415 §18.3.8). Quarantine counts as an
// unknown machine: when there are too many, the address is only taken from its holder.
func (d *round) decline(r *Request) answer {
	a := d.status(r, iana.StatusSuccess)
	l, ok := d.holds(r)
	if !ok {
		a.bare, a.noBinding = false, r.ia != nil
		return a
	}
	d.drop(l.Key)
	delete(d.sharers, l.Key)
	if !d.crowded() {
		d.put(lease6.Lease{Key: lease6.Quarantine(l.Addr), Addr: l.Addr, Expires: d.now.Add(quarantineTime), Declined: true, Unknown: true})
	}
	d.complain("decline", "a machine found its address in use by somebody else", "client", r.Key, "address", l.Addr, "quarantine", quarantineTime)
	a.addr, a.commits = l.Addr, true
	return a
}
