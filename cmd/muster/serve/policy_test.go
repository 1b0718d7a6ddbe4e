package serve

import (
	"errors"
	"net/netip"
	"testing"

	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/roles"
)

// TestSlotCache: a machine has the address of its slot as soon as it has the slot, and no longer than that.
func TestSlotCache(t *testing.T) {
	s := rackOf(t)
	p := policy{s.registry, s.hosts, new(poolCache), new(slotCache)}
	mac, addr := roles.MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.77.0.20")
	host := func() dhcpd.Host { return p.Host(t.Context(), &dhcpd.Request{MAC: lease.MAC(mac)}) }
	slot := func(n roles.Node, holder roles.MAC, a netip.Addr) {
		change(t, s, func(tx roles.Tx) error {
			return errors.Join(tx.Nodes().Put(n), tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: a, Node: holder}))
		})
	}
	for range 2 { // from the store, and from the cache
		if got := host(); got != (dhcpd.Host{}) {
			t.Fatalf("without a slot it gets %+v", got)
		}
	}
	with := roles.Node{MAC: mac, Slot: "web-01"}
	slot(with, mac, addr)
	for range 2 {
		if got := host(); got.Address != addr || got.Hostname != "web-01" {
			t.Errorf("with a slot it gets %+v", got)
		}
	}
	slot(with, mac, addr.Next())
	if got := host(); got.Address != addr.Next() {
		t.Errorf("after its slot moved it gets %+v", got)
	}
	slot(roles.Node{MAC: mac}, roles.MAC{}, addr)
	if got := host(); got != (dhcpd.Host{}) {
		t.Errorf("after it lost its slot it gets %+v", got)
	}
}

// TestSlotCacheBound: a flood of machines leaves no more than the bound.
func TestSlotCacheBound(t *testing.T) {
	s := rackOf(t)
	c := new(slotCache)
	for i := range 2*slotsKept + 10 {
		c.get(t.Context(), s.registry, roles.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	if len(c.hosts) == 0 || len(c.hosts) > slotsKept {
		t.Errorf("%d machines are kept, want at most %d", len(c.hosts), slotsKept)
	}
}
