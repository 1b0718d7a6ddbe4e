package serve

import (
	"context"
	"net/netip"

	"muster/dhcpd"
	"muster/roles"
)

// policy tells DHCP what the registry knows.
type policy struct {
	*roles.Registry
	hosts hosts
}

// Host implements dhcpd.Policy: a machine with a slot has the slot's address and name, a host of muster.yaml its own.
func (p policy) Host(ctx context.Context, r *dhcpd.Request) dhcpd.Host {
	if h, ok := p.hosts.at(roles.MAC(r.MAC), r.Subnet); ok {
		return dhcpd.Host{Address: h.Address, Hostname: h.Hostname}
	}
	name, addr, ok := p.HostOf(ctx, roles.MAC(r.MAC), boots(r))
	if !ok {
		return dhcpd.Host{}
	}
	return dhcpd.Host{Address: addr, Hostname: name}
}

// Reserved implements dhcpd.Policy: slots' addresses are theirs, occupied or not, and so are the hosts'.
func (p policy) Reserved(a netip.Addr) (reserved bool) {
	if _, ok := p.hosts.byAddr[a]; ok {
		return true
	}
	_ = p.Store.View(func(tx roles.Tx) error {
		for pool := range tx.Pools().All() {
			if pool.Addresses.Contains(a) {
				reserved = true
				return nil
			}
		}
		return nil
	})
	return reserved
}

// boots reports whether firmware or iPXE is speaking, and not an operating system.
func boots(r *dhcpd.Request) bool { return r.PXE || r.HTTP || r.IPXE }
