package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"
)

var domainRE = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)

// subnets checks them; addresses says whether this server gives the addresses of their ranges.
func (c *check) subnets(list []Subnet, addresses bool) {
	if len(list) == 0 {
		c.fault("dhcpd.subnets", "none given: at least the network of an interface, such as "+
			"[{subnet: 10.77.0.0/24, range: 10.77.0.128-10.77.0.254}]")
	}
	for i, s := range list {
		key := fmt.Sprintf("dhcpd.subnets[%d]", i)
		if !c.network(key+".subnet", s.Subnet) {
			continue // without it nothing else can be judged
		}
		if addresses || s.Range.First.IsValid() {
			c.ranged(key+".range", s)
		}
		c.router(key+".router", s)
		c.names(key, s)
		c.routes(key+".routes", s)
		if s.BOOTP < 0 {
			c.fault(key+".bootp", "%v is too short; leave it out to answer BOOTP only for slots and hosts", s.BOOTP)
		}
		c.hosts(key+".hosts", s)
		if s.Lease < leaseMin {
			c.fault(key+".lease", "%v is too short: at least %v", s.Lease, time.Duration(leaseMin))
		}
		for j, o := range list[:i] {
			if s.Subnet.Overlaps(o.Subnet) {
				c.fault(key+".subnet", "%v overlaps dhcpd.subnets[%d], %v", s.Subnet, j, o.Subnet)
			}
		}
	}
	c.hostnames(list)
}

func (c *check) network(key string, p netip.Prefix) bool {
	switch {
	case !p.IsValid():
		c.fault(key, "not given: the network, such as 10.77.0.0/24")
	case !p.Addr().Is4():
		c.fault(key, "%v: machines boot over IPv4 only", p)
	case p != p.Masked():
		c.fault(key, "%v is an address in a network; did you mean %v?", p, p.Masked())
	case p.Bits() < 8 || p.Bits() > 30:
		c.fault(key, "%v: want a network of /8 to /30", p)
	default:
		return true
	}
	return false
}

func (c *check) ranged(key string, s Subnet) {
	r := s.Range
	switch {
	case !r.First.IsValid():
		c.fault(key, "not given: the addresses for machines without a slot, first-last, in %v", s.Subnet)
	case !s.Subnet.Contains(r.First) || !s.Subnet.Contains(r.Last):
		c.fault(key, "%v is not inside of %v", r, s.Subnet)
	case r.Contains(s.Subnet.Addr()):
		c.fault(key, "%v contains %v, which names the network itself", r, s.Subnet.Addr())
	case r.Contains(last(s.Subnet)):
		c.fault(key, "%v contains %v, the broadcast address", r, last(s.Subnet))
	case r.Contains(s.Router):
		c.fault(key, "%v contains the router, %v", r, s.Router)
	}
	for _, d := range s.DNS {
		if r.Contains(d) {
			c.fault(key, "%v contains the name server %v", r, d)
		}
	}
}

func (c *check) router(key string, s Subnet) {
	switch r := s.Router; {
	case !r.IsValid():
	case !s.Subnet.Contains(r):
		c.fault(key, "%v is not inside of %v: machines could not reach it", r, s.Subnet)
	case r == s.Subnet.Addr() || r == last(s.Subnet):
		c.fault(key, "%v is not the address of a machine", r)
	}
}

func (c *check) names(key string, s Subnet) {
	for i, d := range s.DNS {
		if !d.Is4() || d.IsUnspecified() || d.IsLoopback() {
			c.fault(fmt.Sprintf("%s.dns[%d]", key, i), "nodes cannot ask %v", d)
		}
	}
	if s.Domain != "" && (len(s.Domain) > 253 || !domainRE.MatchString(s.Domain)) {
		c.fault(key+".domain", "%q is not a domain name (want the form rack.example)", s.Domain)
	}
}

// last is the highest address of p, its broadcast address.
func last(p netip.Prefix) netip.Addr {
	return fromNum(num(p.Masked().Addr()) | ^uint32(0)>>p.Bits())
}

func num(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fromNum(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
