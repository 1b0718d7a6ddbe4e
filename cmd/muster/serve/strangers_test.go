package serve

import (
	"net/netip"
	"testing"
	"time"

	"muster/roles"
)

// TestStrangers: MACs that somebody makes up become nodes up to a number; machines that are known always pass.
func TestStrangers(t *testing.T) {
	s := rackOf(t)
	known := roles.MAC{2, 0, 0, 0, 0, 1}
	change(t, s, func(tx roles.Tx) error { return tx.Nodes().Put(roles.Node{MAC: known, State: roles.StateWaiting}) })
	now := time.Now()
	let := 0
	for i := range 2 * maxStrangers {
		if s.strangers.admit(s.registry, roles.MAC{2, 1, 0, byte(i >> 16), byte(i >> 8), byte(i)}, now) {
			let++
		}
	}
	if let != maxStrangers-1 { // the known one has no pool either
		t.Errorf("%d strangers were let in, want %d", let, maxStrangers-1)
	}
	if first := (roles.MAC{2, 1, 0, 0, 0, 0}); !s.strangers.admit(s.registry, first, now) {
		t.Error("one that was let in is not let in again")
	}
	if !s.strangers.admit(s.registry, known, now) {
		t.Error("a machine that is known was not let in")
	}
	// None of them became a node: their number is counted anew.
	if !s.strangers.admit(s.registry, roles.MAC{2, 9}, now.Add(strangersAge+time.Second)) {
		t.Error("there is room again, and nobody is let in")
	}
}

// TestPoolCache: an address is reserved as soon as a pool has it.
func TestPoolCache(t *testing.T) {
	s := rackOf(t)
	p := policy{s.registry, s.hosts, new(poolCache), new(slotCache)}
	a := roles.AddressRange{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.29")}
	if p.Reserved(a.First) {
		t.Fatal("reserved without a pool")
	}
	change(t, s, func(tx roles.Tx) error { return tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Addresses: a}) })
	if !p.Reserved(a.Last) || p.Reserved(netip.MustParseAddr("10.77.0.30")) {
		t.Error("the pool's addresses are not reserved, or more than them")
	}
	change(t, s, func(tx roles.Tx) error { return tx.Pools().Delete("web") })
	if p.Reserved(a.First) {
		t.Error("reserved after the pool is gone")
	}
}
