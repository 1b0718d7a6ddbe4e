package serve

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/roles"
)

// network is one subnet and where this server is in it.
type network struct {
	dhcpd.Subnet
	// Server is this server's address as the machines of the subnet reach it: its own there or, for a
	// subnet behind a relay, that of the first interface.
	Server netip.Addr
}

// networks puts the configured subnets and the interfaces' addresses together.
func networks(c *config.Config) ([]network, error) {
	var own []netip.Addr
	for _, name := range c.DHCPD.Interfaces {
		addrs, err := addressesOf(name)
		if err != nil {
			return nil, err
		}
		own = append(own, addrs...)
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("no interface of %v has an IPv4 address; give it one: ip addr add ADDRESS/BITS dev %s",
			c.DHCPD.Interfaces, c.DHCPD.Interfaces[0])
	}
	var out []network
	for _, sub := range c.DHCPD.Subnets {
		n := network{Server: own[0], Subnet: dhcpd.Subnet{
			Prefix: sub.Subnet, Range: dhcpd.Range{First: sub.Range.First, Last: sub.Range.Last},
			Router: sub.Router, DNS: sub.DNS, Domain: sub.Domain, Lease: sub.Lease,
			RapidCommit: sub.RapidCommit, BOOTP: sub.BOOTP,
		}}
		for _, r := range sub.Routes {
			n.Routes = append(n.Routes, dhcpd.Route(r))
		}
		for _, a := range own {
			if sub.Subnet.Contains(a) {
				n.Server = a
				break
			}
		}
		out = append(out, n)
	}
	return out, nil
}

func addressesOf(name string) ([]netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("dhcpd.interfaces: there is no interface %q (ip link shows those that are)", name)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", name, err)
	}
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}

// broadcasts are the subnets' broadcast addresses at the port that Wake-on-LAN uses by custom.
func (s *server) broadcasts() (out []netip.AddrPort) {
	for _, n := range s.networks {
		a := n.Prefix.Masked().Addr().As4()
		host := ^uint32(0) >> n.Prefix.Bits()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|host)
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4(a), 9))
	}
	return out
}

// networkOf gives the network that a is in.
func (s *server) networkOf(a netip.Addr) (network, bool) {
	for _, n := range s.networks {
		if n.Prefix.Contains(a) {
			return n, true
		}
	}
	return network{}, false
}

// networkFor is networkOf for the domain.
func (s *server) networkFor(a netip.Addr) (roles.Network, bool) {
	n, ok := s.networkOf(a)
	return roles.Network{Prefix: n.Prefix, Router: n.Router, DNS: n.DNS, Domain: n.Domain, Server: n.Server}, ok
}

// httpPort is the port of HTTP boot, securePort that of TLS.
func (s *server) httpPort() uint16   { return portOf(s.Config.HTTPBoot.Listen, 80) }
func (s *server) securePort() uint16 { return portOf(s.Config.HTTPBoot.Secure, 443) }

// portOf is the port of an address; def where that is a name.
func portOf(listen string, def uint16) uint16 {
	_, port, _ := net.SplitHostPort(listen)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return def
	}
	return uint16(n)
}
