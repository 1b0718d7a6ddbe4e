package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Subnet6 is one IPv6 network in which firmware boots.
type Subnet6 struct {
	// Subnet is the network, of /64 to /120: fd77::/64. Required. An interface whose address is in it answers
	// DHCPv6; one without is behind relays.
	Subnet netip.Prefix `mapstructure:"subnet"`
	// Range has the addresses that may be given out, first-last. The zero value means all but the first 65,536 and
	// the last 128.
	Range AddressRange6 `mapstructure:"range"`
	// DNS are the name servers, option 23, and Domain the search list, option 24. Empty means that the option is
	// not sent.
	DNS    []netip.Addr `mapstructure:"dns"`
	Domain string       `mapstructure:"domain"`
	// Lease is how long an address is lent. Zero means 1h; at least 10s.
	Lease time.Duration `mapstructure:"lease"`
	// Advertise answers router solicitations, so that machines ask DHCPv6 and know the prefix. False means that a
	// router of the network does it; its advertisements must have the M flag.
	Advertise bool `mapstructure:"advertise"`
}

// AddressRange6 is a range of IPv6 addresses; the zero value is none.
type AddressRange6 struct{ First, Last netip.Addr }

// UnmarshalText reads "fd77::1000-fd77::1fff".
func (r *AddressRange6) UnmarshalText(b []byte) error {
	first, last, two := strings.Cut(string(b), "-")
	var errs [2]error
	r.First, errs[0] = netip.ParseAddr(strings.TrimSpace(first))
	r.Last, errs[1] = netip.ParseAddr(strings.TrimSpace(last))
	if !two || errs[0] != nil || errs[1] != nil {
		return fmt.Errorf("%q is not a range of IPv6 addresses (want first-last)", b)
	}
	return nil
}

// MarshalText gives what UnmarshalText reads; nothing for none.
func (r AddressRange6) MarshalText() ([]byte, error) {
	if r == (AddressRange6{}) {
		return nil, nil
	}
	return []byte(r.First.String() + "-" + r.Last.String()), nil
}

// Prefixes that DHCPv6 serves: no link has a shorter one than /64, and in a longer one than /120 there is no room.
const (
	bits6Min = 64
	bits6Max = 120
)

func (c *check) subnets6(list []Subnet6) {
	for i, s := range list {
		key := fmt.Sprintf("dhcpd.subnets6[%d]", i)
		if !c.network6(key+".subnet", s.Subnet) {
			continue // without it nothing else can be judged
		}
		c.ranged6(key+".range", s)
		for j, d := range s.DNS {
			if !d.Is6() || d.Is4In6() || d.IsUnspecified() || d.IsLoopback() {
				c.fault(fmt.Sprintf("%s.dns[%d]", key, j), "machines cannot ask %v over IPv6", d)
			}
		}
		if s.Domain != "" && (len(s.Domain) > 253 || !domainRE.MatchString(s.Domain)) {
			c.fault(key+".domain", "%q is not a domain name (want the form rack.example)", s.Domain)
		}
		if s.Lease < leaseMin {
			c.fault(key+".lease", "%v is too short: at least %v", s.Lease, time.Duration(leaseMin))
		}
		for j, o := range list[:i] {
			if s.Subnet.Overlaps(o.Subnet) {
				c.fault(key+".subnet", "%v overlaps dhcpd.subnets6[%d], %v", s.Subnet, j, o.Subnet)
			}
		}
	}
}

func (c *check) network6(key string, p netip.Prefix) bool {
	switch {
	case !p.IsValid():
		c.fault(key, "not given: the network, such as fd77::/64")
	case !p.Addr().Is6() || p.Addr().Is4In6():
		c.fault(key, "%v is not IPv6: it belongs into dhcpd.subnets", p)
	case p != p.Masked():
		c.fault(key, "%v is an address in a network; did you mean %v?", p, p.Masked())
	case p.Bits() < bits6Min || p.Bits() > bits6Max:
		c.fault(key, "%v: want a network of /%d to /%d, which is what one link has", p, bits6Min, bits6Max)
	default:
		return true
	}
	return false
}

func (c *check) ranged6(key string, s Subnet6) {
	switch r := s.Range; {
	case r == (AddressRange6{}):
	case r.Last.Less(r.First):
		c.fault(key, "%v-%v: the last address is before the first", r.First, r.Last)
	case !s.Subnet.Contains(r.First) || !s.Subnet.Contains(r.Last):
		c.fault(key, "%v-%v is not inside of %v", r.First, r.Last, s.Subnet)
	case r.First == s.Subnet.Addr():
		c.fault(key, "%v-%v contains %v, which is every router's", r.First, r.Last, r.First)
	}
}
