package statetest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"muster/roles"
)

func testDerived(t *testing.T, r *rack) {
	check := func(what, name, address string) {
		t.Helper()
		want := netip.Addr{}
		if address != "" {
			want = addr(address)
		}
		r.view(func(tx roles.Tx) {
			n, _ := tx.Nodes().Get(mac(1))
			if n.Name != name || n.Address != want {
				t.Errorf("%s: name %q, address %v; want %q, %q", what, n.Name, n.Address, name, address)
			}
			for all := range tx.Nodes().All() {
				equal(t, what+": All and Get", all, n)
			}
		})
	}
	s := slot("web", 1)
	s.Node = mac(1)
	r.update(func(tx roles.Tx) error {
		return tx.Nodes().Put(roles.Node{MAC: mac(1), Name: "liar", Address: addr("10.77.0.150")})
	})
	check("without a slot", "", "10.77.0.150")
	r.update(func(tx roles.Tx) error { return tx.Slots().Put(s) })
	check("in the slot", "web-01", s.Address.String())
	s.Address = addr("10.77.0.99")
	r.update(func(tx roles.Tx) error { return tx.Slots().Put(s) })
	check("after the slot got another address", "web-01", "10.77.0.99")
	r.update(func(tx roles.Tx) error {
		n, _ := tx.Nodes().Get(mac(1))
		return tx.Nodes().Put(n) // as it was read, derived fields and all
	})
	s.Node = roles.MAC{}
	r.update(func(tx roles.Tx) error { return tx.Slots().Put(s) })
	check("after leaving the slot", "", "")
}

func testUnique(t *testing.T, r *rack) {
	one := slot("web", 1)
	one.Node = mac(1)
	r.update(func(tx roles.Tx) error { return tx.Slots().Put(one) })
	before := Dump(r.Store)
	for value, change := range map[string]func(*roles.Slot){
		one.Address.String():   func(s *roles.Slot) { s.Address = one.Address },
		mac(1).String():        func(s *roles.Slot) { s.Node = mac(1) },
		"number 1 of pool web": func(s *roles.Slot) { s.Number = 1 },
	} {
		two := slot("web", 2)
		change(&two)
		err := r.Update(t.Context(), func(tx roles.Tx) error { return tx.Slots().Put(two) })
		if !errors.Is(err, fs.ErrExist) {
			t.Fatalf("second %s: got %v, want fs.ErrExist", value, err)
		}
		if !strings.Contains(err.Error(), value) || !strings.Contains(err.Error(), "slot web-01 has it") {
			t.Errorf("error %q does not say who has %s", err, value)
		}
	}
	equal(t, "after refused slots", Dump(r.Store), before)
	// Empty slots without addresses have nothing in common, and a slot may be put again as it is.
	r.update(func(tx roles.Tx) error {
		return errors.Join(tx.Slots().Put(one),
			tx.Slots().Put(roles.Slot{Name: "a-01", Pool: "a", Number: 1}),
			tx.Slots().Put(roles.Slot{Name: "a-02", Pool: "a", Number: 2}))
	})
}

// testSwap: what is unique at the end of a transaction may be double in the middle.
func testSwap(t *testing.T, r *rack) {
	one, two := slot("web", 1), slot("web", 2)
	one.Node, two.Node = mac(1), mac(2)
	put := func(tx roles.Tx) error { return errors.Join(tx.Slots().Put(one), tx.Slots().Put(two)) }
	r.update(put)
	one.Node, two.Node = two.Node, one.Node
	one.Address, two.Address = two.Address, one.Address
	r.update(put)
	r.view(func(tx roles.Tx) {
		got, _ := tx.Slots().Get("web-01")
		equal(t, "swapped slot", got, one)
	})
	// A slot that is deleted in the same transaction holds nothing any more.
	three := slot("web", 3)
	three.Node, three.Address = one.Node, one.Address
	r.update(func(tx roles.Tx) error { return errors.Join(tx.Slots().Put(three), tx.Slots().Delete("web-01")) })
}

func testSlotsOf(t *testing.T, r *rack) {
	r.update(func(tx roles.Tx) error {
		for _, s := range []roles.Slot{slot("web", 100), slot("web", 2), slot("web2", 1), slot("we", 1), slot("web", 11)} {
			if err := tx.Slots().Put(s); err != nil {
				return err
			}
		}
		return nil
	})
	r.view(func(tx roles.Tx) {
		equal(t, "slots of web", pick(tx.SlotsOf("web"), func(s roles.Slot) int { return s.Number }), []int{2, 11, 100})
		for s := range tx.SlotsOf("") {
			t.Errorf("slot of no pool: %v", s)
		}
	})
}

// testRace: machines at once, each for the first empty slot; one more than there are.
func testRace(t *testing.T, r *rack) {
	const slots = 50
	r.update(func(tx roles.Tx) error {
		for i := range slots {
			if err := tx.Slots().Put(slot("web", i+1)); err != nil {
				return err
			}
		}
		return nil
	})
	errFull := errors.New("no slot left")
	taken := make([]string, slots+1)
	var wg sync.WaitGroup
	for i := range taken {
		wg.Go(func() {
			err := r.Update(t.Context(), func(tx roles.Tx) error {
				for s := range tx.SlotsOf("web") {
					if s.Node.IsZero() {
						s.Node, taken[i] = mac(i+1), s.Name
						return errors.Join(tx.Slots().Put(s), tx.Nodes().Put(roles.Node{MAC: s.Node, Slot: s.Name}))
					}
				}
				return fmt.Errorf("machine %d: %w", i, errFull)
			})
			if err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, s := range taken {
		seen[s]++
	}
	if seen[""] != 1 || len(seen) != slots+1 {
		t.Errorf("slots given out: %v; want each of %d once and one machine without", seen, slots)
	}
	r.view(func(tx roles.Tx) {
		for s := range tx.SlotsOf("web") {
			if n, _ := tx.Nodes().Get(s.Node); n.Slot != s.Name {
				t.Errorf("slot %s is %s's, which is in %q", s.Name, s.Node, n.Slot)
			}
		}
	})
}
