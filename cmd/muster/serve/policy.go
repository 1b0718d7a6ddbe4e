package serve

import (
	"context"
	"net/netip"

	"muster/dhcpd"
	"muster/roles"
)

// policy tells DHCP what the registry knows.
type policy struct{ *roles.Registry }

// Host implements dhcpd.Policy: a machine with a slot has the slot's address and name.
func (p policy) Host(ctx context.Context, r *dhcpd.Request) dhcpd.Host {
	name, addr, ok := p.HostOf(ctx, roles.MAC(r.MAC), boots(r))
	if !ok {
		return dhcpd.Host{}
	}
	return dhcpd.Host{Address: addr, Hostname: name}
}

// Reserved implements dhcpd.Policy: slots' addresses are theirs, occupied or not.
func (p policy) Reserved(a netip.Addr) (reserved bool) {
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
