package serve

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"muster/dhcpd"
	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/state"
)

// TestWaitingMachineKeepsItsAddress: a machine may wait in its agent all night.
func TestWaitingMachineKeepsItsAddress(t *testing.T) {
	store := state.OpenMemory()
	defer store.Close()
	s := &server{store: store, log: slog.New(slog.DiscardHandler), networks: []network{
		{Subnet: dhcpd.Subnet{Prefix: netip.MustParsePrefix("10.77.0.0/24"), Lease: time.Hour}}}}
	n := roles.Node{MAC: roles.MAC{0x52, 0x54, 0, 0, 0, 1}}
	old := lease.Lease{MAC: lease.MAC(n.MAC), Addr: netip.MustParseAddr("10.77.0.100"), Expires: time.Now().Add(time.Minute)}
	if err := store.CommitLeases(t.Context(), []lease.Lease{old}, nil); err != nil {
		t.Fatal(err)
	}
	s.keepLease(t.Context(), n)
	got, _ := store.Leases().ByMAC(old.MAC)
	if !got.Active(time.Now().Add(55*time.Minute)) || got.Addr != old.Addr {
		t.Errorf("lease %+v was not prolonged by an hour", got)
	}
	s.keepLease(t.Context(), n)
	if again, _ := store.Leases().ByMAC(old.MAC); again != got {
		t.Errorf("a fresh lease was written again: %+v", again)
	}
	s.keepLease(t.Context(), roles.Node{MAC: roles.MAC{1}}) // without a lease: nothing to keep

	n.Slot, n.Address = "web-01", netip.MustParseAddr("10.77.0.20")
	if left := s.leftovers([]roles.Node{n}); len(left) != 0 {
		t.Errorf("a node that boots loses the lease that it boots with: %v", left)
	}
	n.State = roles.StateReady
	if left := s.leftovers([]roles.Node{n}); len(left) != 1 || left[0] != old.MAC {
		t.Errorf("the leases to end are %v, want that of %v", left, old.MAC)
	}
}
