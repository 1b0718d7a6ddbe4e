package dhcpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"
)

// defaultLease is long enough that a rack renews a few times an hour only, and short enough that an address
// comes back in the same shift.
const defaultLease = time.Hour

// Subnet is one IP network that the server answers for, and what its machines are told.
type Subnet struct {
	// Prefix is the network, 10.77.0.0/24. A request belongs to it by its relay's address (giaddr) or by
	// the address of the interface that it came in on.
	Prefix netip.Prefix
	// Range holds the dynamic addresses; zero means that only fixed addresses are given.
	Range Range
	// Router is the default gateway (option 3); zero means none.
	Router netip.Addr
	// DNS are the name servers (option 6), best first; none are told when it is empty.
	DNS []netip.Addr
	// Domain is the DNS domain of the machines (option 15); empty means none.
	Domain string
	// Lease is how long a machine may use an address (option 51), in whole seconds; zero means one hour.
	Lease time.Duration
	// Routes are told to machines that ask for classless static routes (option 121, RFC 3442), together with
	// Router; empty means that the option is not sent.
	Routes []Route
	// RapidCommit lets machines that ask for it (option 80, RFC 4039) have an address in two packets instead of
	// four. It is off by default: where another server answers as well, each of them gives the machine an
	// address for good, and it uses one.
	RapidCommit bool
	// BOOTP is how long an address of Range is lent to a machine that speaks BOOTP (RFC 951), which never
	// renews. Zero means that BOOTP is answered for fixed addresses only.
	BOOTP time.Duration
}

// Range is an inclusive range of IPv4 addresses; the zero Range is empty.
type Range struct{ First, Last netip.Addr }

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.IsValid() && a.Is4() && !a.Less(r.First) && !r.Last.Less(a)
}

// check reports every fault of n, each as an fs.ErrInvalid.
func (n *Subnet) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("dhcpd: subnet %s: %s: %w", n.Prefix, fmt.Sprintf(format, args...), fs.ErrInvalid))
	}
	if !n.Prefix.Addr().Is4() || n.Prefix.Bits() > 30 {
		fault("want an IPv4 network with at least two machines, like 10.77.0.0/24")
		return errors.Join(faults...)
	}
	if n.Prefix != n.Prefix.Masked() {
		fault("has host bits set (did you mean %s?)", n.Prefix.Masked())
	}
	if n.Range != (Range{}) {
		switch {
		case !n.Prefix.Contains(n.Range.First) || !n.Prefix.Contains(n.Range.Last):
			fault("range %s-%s is not inside of it", n.Range.First, n.Range.Last)
		case n.Range.Last.Less(n.Range.First):
			fault("range %s-%s ends before it starts", n.Range.First, n.Range.Last)
		}
	}
	if n.Router.IsValid() && !n.Prefix.Contains(n.Router) {
		fault("router %s is not inside of it", n.Router)
	}
	for _, a := range n.DNS {
		if !a.Is4() {
			fault("DNS server %s is not an IPv4 address", a)
		}
	}
	if n.BOOTP < 0 {
		fault("BOOTP leases of %s are too short", n.BOOTP)
	}
	for _, r := range n.Routes {
		if why := r.check(n); why != "" {
			fault("%s", why)
		}
	}
	if n.Lease < 0 || n.Lease > 0 && n.Lease < 10*time.Second {
		fault("a lease of %s is too short (the least is 10s)", n.Lease)
	}
	return errors.Join(faults...)
}

// checkSubnets reports every fault of subnets, and those that overlap.
func checkSubnets(subnets []Subnet) error {
	if len(subnets) == 0 {
		return fmt.Errorf("dhcpd: no subnet is configured: %w", fs.ErrInvalid)
	}
	var faults []error
	for i := range subnets {
		faults = append(faults, subnets[i].check())
		for j := range i {
			if subnets[i].Prefix.Overlaps(subnets[j].Prefix) {
				faults = append(faults, fmt.Errorf("dhcpd: subnets %s and %s overlap: %w", subnets[j].Prefix, subnets[i].Prefix, fs.ErrInvalid))
			}
		}
	}
	return errors.Join(faults...)
}

// usable reports whether a machine of the subnet can have the address a at all.
func (n *Subnet) usable(a netip.Addr) bool {
	return n.Prefix.Contains(a) && a != n.Prefix.Addr() && a != n.broadcast() && a != n.Router
}

func (n *Subnet) broadcast() netip.Addr {
	b := n.Prefix.Addr().As4()
	mask := n.mask()
	for i := range b {
		b[i] |= ^mask[i]
	}
	return netip.AddrFrom4(b)
}

func (n *Subnet) mask() [4]byte {
	m := ^uint32(0) << (32 - n.Prefix.Bits())
	return [4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}
}

func (n *Subnet) lease() time.Duration {
	if n.Lease == 0 {
		return defaultLease
	}
	return n.Lease.Truncate(time.Second)
}

// prefix is for messages: "" without a subnet.
func (n *Subnet) prefix() string {
	if n == nil {
		return ""
	}
	return n.Prefix.String()
}

// size is the number of addresses in r.
func (r Range) size() int {
	a, b := r.First.As4(), r.Last.As4()
	return int(binary.BigEndian.Uint32(b[:])) - int(binary.BigEndian.Uint32(a[:])) + 1
}
