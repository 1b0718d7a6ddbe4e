package state_test

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/state"
)

// open opens the file store at path until the test ends.
func open(t testing.TB, path string) *state.Store {
	t.Helper()
	s, err := state.Open(path, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func update(t testing.TB, s *state.Store, fn func(roles.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	mac := roles.MAC{2, 0, 0, 0, 0, 1}
	addr := netip.MustParseAddr("10.0.0.1")
	update(t, s, func(tx roles.Tx) error {
		if err := tx.Nodes().Put(roles.Node{MAC: mac, Slot: "web-01"}); err != nil {
			return err
		}
		return tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addr, Node: mac})
	})
	l := lease.Lease{MAC: lease.MAC(mac), Addr: addr, Expires: time.Unix(1000, 0).UTC(), Hostname: "web-01"}
	if err := s.CommitLeases(t.Context(), []lease.Lease{l}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	s.View(func(tx roles.Tx) error {
		if n, _ := tx.Nodes().Get(mac); n.Name != "web-01" || n.Address != addr {
			t.Errorf("node %+v: want name web-01, address %v", n, addr)
		}
		return nil
	})
	if got, _ := s.Leases().ByMAC(l.MAC); got != l {
		t.Errorf("lease %+v, want %+v", got, l)
	}
}
