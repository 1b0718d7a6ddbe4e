package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// checkInterfaces looks whether each interface is up, has a carrier and an address in a subnet.
func checkInterfaces(_ context.Context, e *Env) []Finding {
	var out []Finding
	for _, name := range e.Interfaces {
		out = append(out, e.checkInterface(name))
	}
	return out
}

func (e *Env) checkInterface(name string) Finding {
	const check = "interface"
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fail(check, "see: ip link; then correct dhcpd.interfaces", "there is no interface %s", name)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return fail(check, "ip link set "+name+" up", "%s is down", name)
	}
	addrs := addresses(name)
	if len(addrs) == 0 {
		return fail(check, fmt.Sprintf("ip addr add %s dev %s", e.example(), name), "%s has no IPv4 address", name)
	}
	inside := func(a netip.Addr) bool {
		return slices.ContainsFunc(e.Subnets, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if len(e.Subnets) > 0 && !slices.ContainsFunc(addrs, inside) {
		return warn(check, "give it one, unless machines are only behind relays: "+
			fmt.Sprintf("ip addr add %s dev %s", e.example(), name), "no address of %s is in a configured subnet: %s", name, list(addrs))
	}
	if link.Attrs().OperState == netlink.OperDown {
		return warn(check, "is the cable in, and the switch on?", "%s has no carrier", name)
	}
	return ok(check, "%s is up with %s", name, list(addrs))
}

// example is an address for this server in the first subnet.
func (e *Env) example() string {
	if len(e.Subnets) == 0 {
		return "10.77.0.1/24"
	}
	p := e.Subnets[0].Masked()
	return netip.PrefixFrom(p.Addr().Next(), p.Bits()).String()
}

// addresses are an interface's, IPv4 only.
func addresses(name string) []netip.Addr {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	all, _ := ifi.Addrs()
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// targets resolves a listening address to those that machines use.
func (e *Env) targets(listen string) []string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
		return []string{listen}
	}
	var out []string
	for _, i := range e.Interfaces {
		for _, a := range addresses(i) {
			out = append(out, net.JoinHostPort(a.String(), port))
		}
	}
	return out
}

func list[T fmt.Stringer](all []T) string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}
