package serve

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/dhcpd/dhcp6"
	"muster/dhcpd/lease"
	"muster/dhcpd/radv"
	"muster/httpboot"
	"muster/roles"
	"muster/roles/api"
)

// newDHCP6 makes the DHCPv6 server of the configured subnets; without any it does nothing.
func (s *server) newDHCP6() (*dhcp6.Server, error) {
	d := &dhcp6.Server{
		Policy: policy6{s}, Leases: s.store.Leases6(), Commit: s.store.CommitLeases6,
		FileURL: s.fileURL6, ScriptURL: s.scriptURL6,
		Observe: s.sawDHCP6, Log: s.log.With("service", "dhcp6"), Metrics: s.metrics,
	}
	for _, n := range s.Config.DHCPD.Subnets6 {
		d.Subnets = append(d.Subnets, dhcp6.Subnet{Prefix: n.Subnet, Range: dhcp6.Range(n.Range), DNS: n.DNS, Domain: n.Domain, Lease: n.Lease})
	}
	for _, f := range s.bootFiles() {
		d.BootFiles = append(d.BootFiles, dhcp6.BootFile{Arch: f.Arch, HTTP: f.HTTP, File: f.File})
	}
	if len(d.Subnets) == 0 {
		return d, nil
	}
	return d, dhcp6.CheckSubnets(d.Subnets)
}

// listenDHCP6 opens the sockets of DHCPv6, if any subnet is configured.
func (s *server) listenDHCP6() (*dhcp6.Conn, error) {
	if len(s.dhcp6.Subnets) == 0 {
		return new(dhcp6.Conn), nil
	}
	return s.dhcp6.Listen(s.Config.DHCPD.Interfaces...)
}

// advertised says what router advertisements there are on the interfaces that have an address in an IPv6 subnet.
func advertised(c *config.Config) map[string]radv.Link {
	links := map[string]radv.Link{}
	for _, name := range c.DHCPD.Interfaces {
		addrs, err := addresses6Of(name)
		if err != nil {
			continue // to listen there fails, and says why
		}
		var l radv.Link
		for _, n := range c.DHCPD.Subnets6 {
			switch {
			case !contained(n.Subnet, addrs):
			case n.Advertise:
				l.Managed, l.OnLink = true, append(l.OnLink, n.Subnet)
			default:
				l.Silent = true
			}
		}
		l.Silent = l.Silent && !l.Managed
		links[name] = l
	}
	return links
}

// addresses6Of are the IPv6 addresses of an interface.
func addresses6Of(name string) (out []netip.Addr, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	addrs, err := i.Addrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() {
			out = append(out, p.Addr())
		}
	}
	return out, err
}

func contained(p netip.Prefix, addrs []netip.Addr) bool {
	for _, a := range addrs {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// fileURL6 is where firmware loads its first program from.
func (s *server) fileURL6(r *dhcp6.Request, file string, http bool) string {
	if s.hosts.has(roles.MAC(r.MAC)) {
		return ""
	}
	if http {
		return s.url(r.Server) + "/nbp/" + file
	}
	host := "[" + r.Server.String() + "]"
	if port := portOf(s.Config.TFTPD.Listen, tftpPort); port != tftpPort {
		host = netip.AddrPortFrom(r.Server, port).String()
	}
	return "tftp://" + host + "/" + file
}

const tftpPort = 69

// scriptURL6 is where iPXE loads its script from.
func (s *server) scriptURL6(r *dhcp6.Request) string {
	if s.hosts.has(roles.MAC(r.MAC)) {
		return ""
	}
	return s.url(r.Server) + "/ipxe"
}

// policy6 tells DHCPv6 what the registry knows. Slots have no IPv6 addresses: it is for firmware only.
type policy6 struct{ *server }

// Host implements dhcp6.Policy: a machine with a slot is known.
func (p policy6) Host(ctx context.Context, r *dhcp6.Request) dhcp6.Host {
	if r.MAC == (lease.MAC{}) {
		return dhcp6.Host{}
	}
	_, _, ok := p.registry.HostOf(ctx, roles.MAC(r.MAC), r.Boots())
	return dhcp6.Host{Known: ok}
}

// sawDHCP6 records a machine that boots, if it is known by its MAC.
func (s *server) sawDHCP6(e dhcp6.Event) {
	r := e.Request
	if !r.Boots() || r.MAC == (lease.MAC{}) || s.hosts.has(roles.MAC(r.MAC)) {
		return
	}
	s.firmware.spoke(r.MAC, e.Time)
	v4 := &dhcpd.Request{PXE: r.PXE, HTTP: r.HTTP, IPXE: r.IPXE, Archs: r.Archs, Circuit: r.Circuit, Remote: r.Remote}
	who := program(v4) + " over IPv6"
	sight := roles.Sighting{MAC: roles.MAC(r.MAC), Time: e.Time, Boots: true, Facts: factsOf(v4)}
	switch e.Kind {
	case dhcp6.Solicited:
		sight.Step, sight.Message = roles.StepDiscover, who+" asks for an address"
	case dhcp6.Leased:
		sight.Step, sight.Message = roles.StepLease, fmt.Sprintf("%s has %s, loads %s", who, e.Addr, e.File)
	case dhcp6.Refused, dhcp6.Silent:
		sight.Step, sight.Error = roles.StepLease, fmt.Sprintf("%s got no lease: %s", who, e.Reason)
	case dhcp6.Declined:
		sight.Step, sight.Error = roles.StepLease, fmt.Sprintf("%s found %s in use by another machine", who, e.Addr)
	default:
		return
	}
	s.seen(sight)
}

// leases6 lists the DHCPv6 leases of machines that are known by their MAC.
func (s *server) leases6() (out []api.LeaseView) {
	for _, l := range s.store.Leases6().All() {
		if mac, ok := l.Key.MAC(); ok {
			out = append(out, api.LeaseView{MAC: roles.MAC(mac), Address: l.Addr, Expires: l.Expires})
		}
	}
	return out
}

// holderOf gives the machine that has a lease of an address, or was seen with it where another server gives them.
func (s *server) holderOf(a netip.Addr) (roles.MAC, bool) {
	if mac, ok := s.others.holder(a.Unmap(), time.Now()); ok {
		return mac, true
	}
	if a = a.Unmap(); a.Is6() {
		l, ok := s.store.Leases6().ByAddr(a)
		mac, named := l.Key.MAC()
		return roles.MAC(mac), ok && named
	}
	l, ok := s.store.Leases().ByAddr(a)
	return roles.MAC(l.MAC), ok
}

// bootAddress gives the IPv4 address that a machine goes on with, and its network. One that loads over IPv6 has it by
// DHCP as well: mounts, the agent and slots are IPv4.
func (s *server) bootAddress(m httpboot.Machine) (netip.Addr, network, error) {
	if m.Remote.Is6() {
		if n, ok := s.networkOf(m.IP); ok {
			return m.IP, n, nil
		}
		return netip.Addr{}, network{}, fmt.Errorf("loads over IPv6 and has no IPv4 address of this server's subnets, which its system needs: "+
			"does DHCP answer there, too? %w", fs.ErrInvalid)
	}
	n, ok := s.networkOf(m.Remote)
	if !ok {
		return netip.Addr{}, network{}, fmt.Errorf("address %s is in no subnet of this server: %w", m.Remote, fs.ErrInvalid)
	}
	if n.Prefix.Contains(m.IP) {
		return m.IP, n, nil
	}
	return m.Remote, n, nil
}

// agentURL is this server for the agent of a machine that loads over IPv6; "" for what iPXE used.
func (s *server) agentURL(m httpboot.Machine, n network) string {
	if m.Remote.Is6() {
		return s.url(n.Server)
	}
	return ""
}
