package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"muster/roles"
)

// Found is a configuration for an interface and how each value of it was found.
type Found struct {
	Config *Config
	// Notes are sentences for the person who runs setup, one for each decision; a note that needs
	// attention begins with "careful: ".
	Notes []string
}

// Detect finds out what a boot server on the interface needs, from the host that it runs on:
//
//   - the subnet is that of the interface's first IPv4 address;
//   - the range is the longest stretch of the subnet's upper half without an address that is in use (this
//     server's, the router's, a name server's, a neighbour's that the kernel has heard of). At most 4095
//     addresses, the highest ones. The lower half stays for the addresses of pools;
//   - the router is the default route's where that is in the subnet, else this server where it forwards
//     packets, else none;
//   - the name servers are the host's own, without those that only the host can reach;
//   - the domain is the host's, else rack.internal.
//
// The error says what to do, and wraps fs.ErrNotExist where there is no such interface.
func Detect(iface string) (*Found, error) { return host{os.DirFS("/"), os.Hostname}.detect(iface) }

// host is where Detect looks; the network namespace is the caller's.
type host struct {
	fs       fs.FS
	hostname func() (string, error)
}

func (h host) detect(iface string) (*Found, error) {
	link, own, err := address(iface)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	self, _ := netip.AddrFromSlice(own.IP.To4())
	bits, _ := own.Mask.Size()
	s := Subnet{Subnet: netip.PrefixFrom(self, bits).Masked(), Lease: DefaultLease}
	f := &Found{Config: Default()}
	f.note("subnet %v: %s has the address %v", s.Subnet, iface, self)
	if link.Attrs().OperState == netlink.OperDown {
		f.note("careful: %s has no carrier: is the cable in, and the switch on?", iface)
	}
	if own.ValidLft > 0 && own.Flags&ifaFlagPermanent == 0 {
		f.note("careful: %s has its address from a DHCP server; two on one network disturb each other (unless dhcpd.mode is proxy), and a boot server needs an address that stays", iface)
	}

	var why string
	s.Router, why = h.router(link, s.Subnet, self)
	f.note("%s", why)
	s.DNS, why = h.nameservers(s)
	f.note("%s", why)
	s.Domain, why = h.domain()
	f.note("%s", why)
	used := append([]netip.Addr{self, s.Router}, s.DNS...)
	s.Range, err = freeRange(s.Subnet, append(used, neighbours(link)...))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	f.note("range %v: free in the upper half of %v; the rest is for pools", s.Range, s.Subnet)

	f.Config.DHCPD.Interfaces, f.Config.DHCPD.Subnets = []string{iface}, []Subnet{s}
	return f, f.Config.Validate()
}

// ifaFlagPermanent is IFA_F_PERMANENT of linux/if_addr.h: the address was set by hand, not lent.
const ifaFlagPermanent = 0x80

func (f *Found) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// address finds the interface and its first IPv4 address that is not link-local.
func address(iface string) (netlink.Link, *netlink.Addr, error) {
	link, err := netlink.LinkByName(iface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil, fmt.Errorf("no interface %q (there are %s): %w", iface, interfaces(), fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("interface %q: %w", iface, err)
	}
	a := link.Attrs()
	if a.Flags&net.FlagLoopback != 0 {
		return nil, nil, fmt.Errorf("no machine boots from the loopback interface %q; there are %s", iface, interfaces())
	}
	if a.Flags&net.FlagUp == 0 {
		return nil, nil, fmt.Errorf("interface %q is down; first: ip link set %s up", iface, iface)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return nil, nil, fmt.Errorf("addresses of %q: %w", iface, err)
	}
	for _, ad := range addrs {
		if !ad.IP.IsLinkLocalUnicast() {
			return link, &ad, nil
		}
	}
	return nil, nil, fmt.Errorf("interface %q has no IPv4 address; first give it one that stays, for instance: ip addr add 10.77.0.1/24 dev %s", iface, iface)
}

// interfaces lists those that machines could boot from.
func interfaces() string {
	links, _ := netlink.LinkList()
	var names []string
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback == 0 {
			names = append(names, l.Attrs().Name)
		}
	}
	if len(names) == 0 {
		return "none but the loopback"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// neighbours are the addresses that the kernel has heard of on link.
func neighbours(link netlink.Link) []netip.Addr {
	list, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return nil // they are a help, no more: the server probes before it lends
	}
	var out []netip.Addr
	for _, n := range list {
		if a, ok := netip.AddrFromSlice(n.IP.To4()); ok && len(n.HardwareAddr) > 0 {
			out = append(out, a)
		}
	}
	return out
}

// rangeMax bounds the dynamic range, in which only machines without a slot live: a /20 less the broadcast
// address.
const rangeMax = 4095

// freeRange is the longest run of addresses in the upper half of p that avoids used.
func freeRange(p netip.Prefix, used []netip.Addr) (roles.AddressRange, error) {
	broadcast := num(last(p))
	middle := num(p.Addr()) + (broadcast-num(p.Addr()))/2 + 1
	taken := []uint32{broadcast}
	for _, a := range used {
		if a.Is4() && p.Contains(a) {
			taken = append(taken, num(a))
		}
	}
	slices.Sort(taken)
	var first, size uint32
	from := middle
	for _, t := range taken {
		if t > from && t-from > size {
			first, size = from, t-from
		}
		from = max(from, t+1)
	}
	if size == 0 {
		return roles.AddressRange{}, fmt.Errorf("no free address in the upper half of %v; a rack needs a larger network, such as a /24", p)
	}
	end := first + size - 1
	return roles.AddressRange{First: fromNum(max(first, end-min(end, rangeMax-1))), Last: fromNum(end)}, nil
}
