package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/roles"
)

// hosts are the machines of muster.yaml that get an address from this server and nothing else. The zero value
// knows none.
type hosts struct {
	byMAC  map[roles.MAC][]host // one for each subnet
	byAddr map[netip.Addr]host
}

type host struct {
	config.Host
	subnet netip.Prefix
}

// all are in the order of their addresses.
func (h hosts) all() []host {
	return slices.SortedFunc(maps.Values(h.byAddr), func(a, b host) int { return a.Address.Compare(b.Address) })
}

// hostsOf puts those of all subnets together.
func hostsOf(subnets []config.Subnet) hosts {
	h := hosts{map[roles.MAC][]host{}, map[netip.Addr]host{}}
	for _, s := range subnets {
		for _, c := range s.Hosts {
			one := host{c, s.Subnet}
			h.byMAC[c.MAC] = append(h.byMAC[c.MAC], one)
			h.byAddr[c.Address] = one
		}
	}
	return h
}

// has reports whether a machine is one of them.
func (h hosts) has(mac roles.MAC) bool { return len(h.byMAC[mac]) > 0 }

// at is what a machine gets in a subnet. One that is known elsewhere only gets that: DHCP says so in the log, and
// gives it a dynamic address.
func (h hosts) at(mac roles.MAC, n *dhcpd.Subnet) (host, bool) {
	all := h.byMAC[mac]
	for _, one := range all {
		if n != nil && one.subnet == n.Prefix {
			return one, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return host{}, false
}

// refuse is the error for who wants to boot one of them.
func (h hosts) refuse(mac roles.MAC) error {
	if !h.has(mac) {
		return nil
	}
	return fmt.Errorf("%s is in dhcpd.subnets[].hosts of muster.yaml, so Muster does not boot it: take it out there and restart the server: %w", mac, fs.ErrInvalid)
}

// taken says whose an address is, of the pools that there are; "" when nobody's.
func taken(pools []roles.Pool, a netip.Addr) string {
	for _, p := range pools {
		switch {
		case p.Addresses.Contains(a):
			return fmt.Sprintf("in the addresses of pool %s (%s)", p.Name, p.Addresses)
		case p.Pair != nil && p.Pair.Address == a:
			return "the floating address of storage pair " + p.Name
		}
	}
	return ""
}

// checkHosts compares the hosts with the rack. What was declared later is refused by rack.
func (s *server) checkHosts() error {
	var faults []error
	fault := func(h host, format string, args ...any) {
		faults = append(faults, fmt.Errorf("dhcpd.subnets: %s: host %s, %s: %s: %w", h.subnet, h.MAC, h.Address, fmt.Sprintf(format, args...), fs.ErrInvalid))
	}
	err := s.store.View(func(tx roles.Tx) error {
		var pools []roles.Pool
		for p := range tx.Pools().All() {
			pools = append(pools, p)
		}
		for _, h := range s.hosts.all() {
			if why := taken(pools, h.Address); why != "" {
				fault(h, "its address is %s; give it another one", why)
			}
			if n, ok := tx.Nodes().Get(h.MAC); ok && (n.Slot != "" || n.Assigned) {
				fault(h, "it is a node of pool %s; release it first (muster node release), or take it out of hosts", n.Pool)
			}
		}
		return nil
	})
	for _, n := range s.networks {
		if h, ok := s.hosts.byAddr[n.Server]; ok {
			fault(h, "its address is this server's own")
		}
	}
	return errors.Join(append(faults, err)...)
}

// rack is the registry as operators see it: hosts are nobody's node, and their addresses nobody's slot.
type rack struct {
	*roles.Registry
	hosts hosts
}

// Assign implements api.Rack.
func (r rack) Assign(ctx context.Context, key, pool, slot string) (roles.Node, error) {
	if mac, err := roles.ParseMAC(key); err == nil {
		if err := r.hosts.refuse(mac); err != nil {
			return roles.Node{}, err
		}
	}
	return r.Registry.Assign(ctx, key, pool, slot)
}

// Replace implements api.Rack.
func (r rack) Replace(ctx context.Context, old, by string) (roles.Node, error) {
	if mac, err := roles.ParseMAC(by); err == nil {
		if err := r.hosts.refuse(mac); err != nil {
			return roles.Node{}, err
		}
	}
	return r.Registry.Replace(ctx, old, by)
}

// Apply implements api.Rack.
func (r rack) Apply(ctx context.Context, d roles.Declaration, o roles.ApplyOptions) ([]roles.Change, error) {
	var faults roles.Faults
	for i, n := range d.Nodes {
		if r.hosts.has(n.MAC) {
			faults = append(faults, &roles.Fault{List: "nodes", Name: n.MAC.String(), Field: "mac", Entry: i + 1,
				Text: "is in dhcpd.subnets[].hosts of muster.yaml, so Muster does not boot it"})
		}
	}
	for i, p := range d.Pools {
		for _, h := range r.hosts.all() {
			if taken([]roles.Pool{p}, h.Address) != "" {
				faults = append(faults, &roles.Fault{List: "pools", Name: p.Name, Field: "addresses", Entry: i + 1,
					Text: fmt.Sprintf("%s is that of the host %s in muster.yaml", h.Address, h.MAC)})
			}
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return r.Registry.Apply(ctx, d, o)
}

// seen records a sighting, unless it is of a host or of one stranger too many.
func (s *server) seen(g roles.Sighting) {
	if !s.hosts.has(g.MAC) && (!g.Boots || s.strangers.admit(s.registry, g.MAC, g.Time)) {
		s.recorder.Seen(g)
	}
}
