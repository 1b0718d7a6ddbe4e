package serve

import (
	"context"
	"net/netip"
	"sync"

	"muster/dhcpd"
	"muster/roles"
)

// policy tells DHCP what the registry knows.
type policy struct {
	*roles.Registry
	hosts hosts
	pools *poolCache
	slots *slotCache
}

// poolCache holds the addresses of all pools: DHCP asks about each address that it gives out, and a pass through the
// store costs more than the rest of the answer.
type poolCache struct {
	mu     sync.Mutex // guards all below
	fresh  freshness
	ranges []roles.AddressRange
}

// freshness is the store's watch since something was read from it; nil for what is to be read anew.
type freshness <-chan struct{}

// ends reports whether what was read is out of date, or was not read.
func (f *freshness) ends() bool {
	select {
	case <-*f:
		*f = nil
	default:
	}
	return *f == nil
}

// contain reports whether a is of a pool of s.
func (c *poolCache) contain(s roles.Store, a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh.ends() {
		c.read(s)
	}
	for _, r := range c.ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// read fills the cache, and knows when it is out of date. c.mu is held.
func (c *poolCache) read(s roles.Store) {
	c.ranges = c.ranges[:0]
	err := s.View(func(tx roles.Tx) error {
		for pool := range tx.Pools().All() {
			c.ranges = append(c.ranges, pool.Addresses)
		}
		c.fresh = s.Watch(tx.Revision())
		return nil
	})
	if err != nil {
		c.fresh = nil // look again
	}
}

// Host implements dhcpd.Policy: a machine with a slot has the slot's address and name, a host of muster.yaml its own.
func (p policy) Host(ctx context.Context, r *dhcpd.Request) dhcpd.Host {
	if h, ok := p.hosts.at(roles.MAC(r.MAC), r.Subnet); ok {
		return dhcpd.Host{Address: h.Address, Hostname: h.Hostname, NoBoot: true}
	}
	if !r.Boots() {
		return p.slots.get(ctx, p.Registry, roles.MAC(r.MAC))
	}
	name, addr, ok := p.HostOf(ctx, roles.MAC(r.MAC), true)
	if !ok {
		return dhcpd.Host{}
	}
	return dhcpd.Host{Address: addr, Hostname: name}
}

// slotCache holds what operating systems are told, which renew their leases all day, until the rack changes. What boots
// is no matter of it: that may change the rack.
type slotCache struct {
	mu    sync.Mutex // guards all below
	fresh freshness
	hosts map[roles.MAC]dhcpd.Host
}

// slotsKept bounds it: most machines of a flood have no slot.
const slotsKept = 4096

func (c *slotCache) get(ctx context.Context, r *roles.Registry, mac roles.MAC) dhcpd.Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh.ends() || len(c.hosts) >= slotsKept {
		c.hosts = map[roles.MAC]dhcpd.Host{}
		c.fresh = r.Watch(r.Revision()) // before the rack is read
	}
	h, ok := c.hosts[mac]
	if !ok {
		h.Hostname, h.Address, _ = r.HostOf(ctx, mac, false)
		c.hosts[mac] = h
	}
	return h
}

// Reserved implements dhcpd.Policy: slots' addresses are theirs, occupied or not, and so are the hosts'.
func (p policy) Reserved(a netip.Addr) bool {
	if _, ok := p.hosts.byAddr[a]; ok {
		return true
	}
	return p.pools.contain(p.Store, a)
}
