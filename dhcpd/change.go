package dhcpd

import (
	"net/netip"

	"muster/dhcpd/lease"
)

// change collects what one batch does to the leases. Reads go through it, so that a packet sees what the
// packets before it in the same batch decided.
type change struct {
	table   *lease.Table
	puts    map[lease.MAC]lease.Lease
	addrs   map[netip.Addr]lease.MAC // of puts
	deletes map[lease.MAC]struct{}
	// What lists gives.
	putList    []lease.Lease
	deleteList []lease.MAC
}

// begin empties c for a batch of its own on t.
func (c *change) begin(t *lease.Table) {
	c.table = t
	if c.puts == nil {
		c.puts, c.addrs, c.deletes = map[lease.MAC]lease.Lease{}, map[netip.Addr]lease.MAC{}, map[lease.MAC]struct{}{}
	}
	clear(c.puts)
	clear(c.addrs)
	clear(c.deletes)
}

func (c *change) empty() bool { return len(c.puts)+len(c.deletes) == 0 }

func (c *change) byMAC(m lease.MAC) (lease.Lease, bool) {
	if l, ok := c.puts[m]; ok {
		return l, true
	}
	if _, ok := c.deletes[m]; ok {
		return lease.Lease{}, false
	}
	return c.table.ByMAC(m)
}

func (c *change) byAddr(a netip.Addr) (lease.Lease, bool) {
	if m, ok := c.addrs[a]; ok {
		return c.puts[m], true
	}
	l, ok := c.table.ByAddr(a)
	if !ok {
		return l, false
	}
	if now, ok := c.byMAC(l.MAC); !ok || now.Addr != a {
		return lease.Lease{}, false
	}
	return l, true
}

// put writes l. Another machine that had its address loses its lease.
func (c *change) put(l lease.Lease) {
	if old, ok := c.byAddr(l.Addr); ok && old.MAC != l.MAC {
		c.delete(old.MAC)
	}
	if old, ok := c.puts[l.MAC]; ok {
		delete(c.addrs, old.Addr)
	}
	c.puts[l.MAC], c.addrs[l.Addr] = l, l.MAC
}

func (c *change) delete(m lease.MAC) {
	if old, ok := c.puts[m]; ok {
		delete(c.addrs, old.Addr)
		delete(c.puts, m)
	}
	c.deletes[m] = struct{}{}
}

// lists gives the change as a commit takes it: deletes first, then puts. It is valid until begin.
func (c *change) lists() (puts []lease.Lease, deletes []lease.MAC) {
	puts, deletes = c.putList[:0], c.deleteList[:0]
	for _, l := range c.puts {
		puts = append(puts, l)
	}
	for m := range c.deletes {
		deletes = append(deletes, m)
	}
	c.putList, c.deleteList = puts, deletes
	return puts, deletes
}
