package dhcp6

import (
	"net"
	"net/netip"

	"muster/dhcpd/lease"
)

// link is an interface as the server knows it.
type link struct {
	name  string
	index int
	mac   lease.MAC
	addrs []netip.Prefix // its IPv6 addresses, each with its network, without link-local ones
}

// datagram is a packet that came in.
type datagram struct {
	data      []byte
	from      netip.AddrPort // with the zone of a link-local address
	to        netip.Addr     // the address that it was sent to
	truncated bool
}

// outgoing is a packet that goes out. from is invalid to let the kernel choose.
type outgoing struct {
	data []byte
	from netip.Addr
	to   netip.AddrPort
}

// port sends and receives on one interface: a socket, or a test's memory.
type port interface {
	link() link
	// read waits for packets and gives as many as there are, or none after a while. They are valid until the next
	// read.
	read() ([]datagram, error)
	// send sends in order, and gives the errors of those that could not be sent.
	send([]outgoing) []error
	// interrupt makes read return, now and ever after.
	interrupt()
	close() error
}

// Conn holds the open sockets of all interfaces.
type Conn struct{ ports []port }

// Close closes the sockets. Serve does it by itself.
func (c *Conn) Close() error {
	var first error
	for _, p := range c.ports {
		if err := p.close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (l *link) has(a netip.Addr) bool {
	for _, p := range l.addrs {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// in gives the interface's address in a subnet; zero for none.
func (l *link) in(n *Subnet) netip.Addr {
	for _, p := range l.addrs {
		if n.Prefix.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// locate fills in where r came from: the subnets of its link, which a relay names by an address of its own there
// (RFC 8415 §13.1), and our address for it.
func (s *Server) locate(r *Request, l link) {
	r.Interface = l.name
	for i := range s.Subnets {
		n := &s.Subnets[i]
		if r.Link.IsValid() && n.Prefix.Contains(r.Link) || !r.Link.IsValid() && l.in(n).IsValid() {
			r.subnets = append(r.subnets, n)
		}
	}
	if len(r.subnets) > 0 {
		r.Subnet = r.subnets[0]
	}
	if !r.Link.IsValid() {
		r.link = l.addrs
	}
	switch {
	case r.to.IsValid() && !r.to.IsMulticast() && !r.to.IsLinkLocalUnicast():
		r.Server = r.to
	case r.Subnet != nil && l.in(r.Subnet).IsValid():
		r.Server = l.in(r.Subnet)
	case len(l.addrs) > 0:
		r.Server = l.addrs[0].Addr()
	}
}

// ipv6Addrs gives the IPv6 addresses of ifi but for link-local ones.
func ipv6Addrs(ifi *net.Interface) ([]netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is6() && !p.Addr().Is4In6() && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p)
		}
	}
	return out, nil
}
