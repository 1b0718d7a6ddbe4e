package dhcp6

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"muster/dhcpd/lease6"
)

// Subnet is one IPv6 network that addresses are given out in.
type Subnet struct {
	// Prefix is the network, of /64 to /120. Required.
	Prefix netip.Prefix
	// Range has the addresses that may be given out. Zero means all but the first 65,536 (in small prefixes: the
	// first sixteenth), where people put their servers, and the last 128, which are anycast (RFC 2526).
	Range Range
	// DNS are the name servers (option 23, RFC 3646) and Domain is the search list (option 24). Empty means that
	// the option is not sent.
	DNS    []netip.Addr
	Domain string
	// Lease is the valid and preferred lifetime; zero means an hour.
	Lease time.Duration
}

// Range is the addresses from First to Last.
type Range struct{ First, Last netip.Addr }

// Contains reports whether a is in r.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.IsValid() && !a.Less(r.First) && !r.Last.Less(a)
}

// The prefixes that addresses are given out in. No link has a shorter one (RFC 4291 §2.5.1); in a longer one, what
// is reserved is most of it.
const (
	minBits = 64
	maxBits = 120
)

// anycast is how many addresses at a subnet's end are reserved (RFC 2526 §2), byHand how many at its start are
// left to people.
const (
	anycast = 128
	byHand  = 1 << 16
)

// CheckSubnets reports every fault of subnets; each is an fs.ErrInvalid.
func CheckSubnets(subnets []Subnet) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("dhcp6: %s: %w", fmt.Sprintf(format, args...), fs.ErrInvalid))
	}
	if len(subnets) == 0 {
		fault("no subnet is configured")
	}
	for i := range subnets {
		n := &subnets[i]
		p := n.Prefix
		switch {
		case !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p != p.Masked():
			fault("%v is not an IPv6 network", p)
			continue
		case p.Bits() < minBits || p.Bits() > maxBits:
			fault("subnet %v: want a prefix of /%d to /%d", p, minBits, maxBits)
			continue
		}
		if r := n.Range; r != (Range{}) && (!p.Contains(r.First) || !p.Contains(r.Last) || r.Last.Less(r.First) || r.Contains(p.Addr())) {
			fault("range %v-%v: want addresses of %v, the first one first, without %v itself, which is every router's", r.First, r.Last, p, p.Addr())
		}
		for _, o := range subnets[:i] {
			if p.Overlaps(o.Prefix) {
				fault("subnets %v and %v overlap", p, o.Prefix)
			}
		}
	}
	return errors.Join(faults...)
}

// prefix is the subnet's, zero for none.
func (n *Subnet) prefix() netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	return n.Prefix
}

func (n *Subnet) lease() time.Duration {
	if n.Lease == 0 {
		return time.Hour
	}
	return n.Lease
}

// low is the host's half of an address.
func low(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:])
}

// at is the address of n whose host's half is v.
func (n *Subnet) at(v uint64) netip.Addr {
	b := n.Prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], v)
	return netip.AddrFrom16(b)
}

// bounds are the host's halves of the range.
func (n *Subnet) bounds() (first, last uint64) {
	if n.Range != (Range{}) {
		return low(n.Range.First), low(n.Range.Last)
	}
	start := low(n.Prefix.Addr())
	top := start | ^uint64(0)>>(n.Prefix.Bits()-minBits)
	return start + min(byHand, (top-start)/16+1), top - anycast
}

// inRange reports whether a is one to give out.
func (n *Subnet) inRange(a netip.Addr) bool {
	if !n.Prefix.Contains(a) {
		return false
	}
	first, last := n.bounds()
	return low(a) >= first && low(a) <= last
}

// size is how many addresses there are to give out. It is never 2^64: the network's own address is not among them.
func (n *Subnet) size() uint64 {
	first, last := n.bounds()
	return last - first + 1
}

// pick is the try-th address for k: any of the range, always the same, and the same for nobody else but by chance.
func (n *Subnet) pick(k lease6.Key, try int) netip.Addr {
	h := sha256.New()
	b := n.Prefix.Addr().As16()
	h.Write(b[:])
	h.Write([]byte{byte(n.Prefix.Bits()), byte(try)})
	h.Write([]byte(k))
	first, _ := n.bounds()
	return n.at(first + binary.BigEndian.Uint64(h.Sum(nil))%n.size())
}

// subnetOf finds the one of subnets that a lies in; nil for none.
func subnetOf(subnets []*Subnet, a netip.Addr) *Subnet {
	for _, n := range subnets {
		if n.Prefix.Contains(a) {
			return n
		}
	}
	return nil
}
