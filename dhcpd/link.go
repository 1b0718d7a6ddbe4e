package dhcpd

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// link is an interface as the server knows it.
type link struct {
	name  string
	index int
	mac   lease.MAC
	addrs []netip.Prefix // its IPv4 addresses, each with its network
	pxe   bool           // it is the boot server's port there, and not DHCP's
}

// port is the one that packets come in on.
func (l *link) port() uint16 {
	if l.pxe {
		return pxePort
	}
	return serverPort
}

// datagram is a packet that came in.
type datagram struct {
	data      []byte
	to        netip.Addr // the address that it was sent to
	from      netip.AddrPort
	truncated bool
}

// outgoing is a packet that goes out.
type outgoing struct {
	data []byte
	// frame ends with data, after ipSize bytes that are free. It is set where raw is.
	frame []byte
	from  netip.Addr
	to    netip.AddrPort
	// raw is the MAC that it goes to without ARP; zero to let the kernel find it.
	raw lease.MAC
}

// port sends and receives on one interface: a socket, or a test's memory.
type port interface {
	link() link
	// read waits for packets and gives as many as there are, or none after a while. They are valid until the
	// next read.
	read() ([]datagram, error)
	// send sends all, and gives the errors of those that could not be sent. They are valid until the next send.
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

// locate fills in where r came from: the subnets of its link and our address for it. What the relay says names
// the subnet (RFC 3527 §3), or its address does (RFC 2131 §4.3.1); else that of a machine which unicasts to us from
// behind a router, to renew; else the addresses of the interface.
func (s *Server) locate(r *Request, l *link, to netip.Addr) {
	r.Interface, r.pxe = l.name, l.pxe
	r.Unicast = l.has(to)
	by := r.Link
	if !by.IsValid() && s.SubnetSelection {
		by = addr(r.get(dhcpv4.OptionSubnetSelection))
		r.selected = by.IsValid()
	}
	if !by.IsValid() {
		by = r.Relay
	}
	if !by.IsValid() && r.Unicast {
		by = r.Client
	}
	for i := range s.Subnets {
		n := &s.Subnets[i]
		if by.IsValid() && n.Prefix.Contains(by) || !by.IsValid() && l.in(n).IsValid() {
			r.subnets = append(r.subnets, n)
		}
	}
	if len(r.subnets) > 0 {
		r.Subnet = r.subnets[0]
	}
	switch {
	case r.Unicast:
		r.Server = to
	case r.Subnet != nil && l.in(r.Subnet).IsValid():
		r.Server = l.in(r.Subnet)
	case len(l.addrs) > 0:
		r.Server = l.addrs[0].Addr()
	default:
		r.Subnet, r.subnets = nil, nil // without an address there is no answer
	}
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

// ipv4Addrs gives the IPv4 addresses of ifi.
func ipv4Addrs(ifi *net.Interface) ([]netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p)
		}
	}
	return out, nil
}
