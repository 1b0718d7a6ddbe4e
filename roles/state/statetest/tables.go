package statetest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"muster/images"
	"muster/roles"
)

func testTables(t *testing.T, r *rack) {
	checkTable(t, r, "role", FullRole(), roles.Role{Name: "web"}, FullRole().Name, roles.Tx.Roles)
	checkTable(t, r, "pool", FullPool(), roles.Pool{Name: "web"}, FullPool().Name, roles.Tx.Pools)
	s := slot("web", 1)
	s.Node, s.Since, s.Used = mac(9), noon, true
	checkTable(t, r, "slot", s, roles.Slot{Name: s.Name}, s.Name, roles.Tx.Slots)
	checkTable(t, r, "node", FullNode(), roles.Node{MAC: mac(1)}, mac(1), roles.Tx.Nodes)
	checkTable(t, r, "boot", FullBoot(), roles.Boot{ID: 3, Node: mac(1)}, 3, roles.Tx.Boots)
	checkTable(t, r, "secret", FullSecret(), roles.Secret{Key: FullSecret().Key}, FullSecret().Key, roles.Tx.Secrets)
	bare := roles.Rollout{Pool: "web", From: images.Ref{Name: "web"}, Image: images.Ref{Name: "web"}}
	checkTable(t, r, "rollout", FullRollout(), bare, bare.Pool, roles.Tx.Rollouts)
	checkTable(t, r, "pair", FullPair(), roles.Pair{Pool: "web"}, FullPair().Pool, roles.Tx.Pairs)
}

// checkTable puts a full value, replaces it by one with only a key, puts the full one again and deletes it;
// each time it reads it back, also from a reopened store.
func checkTable[K comparable, V any](t *testing.T, r *rack, what string, full, bare V, k K, table func(roles.Tx) roles.Table[K, V]) {
	t.Helper()
	for _, v := range []V{full, bare, full} {
		r.update(func(tx roles.Tx) error { return table(tx).Put(v) })
		for range 2 {
			r.view(func(tx roles.Tx) {
				got, ok := table(tx).Get(k)
				if !ok {
					t.Errorf("%s %v is not there", what, k)
				}
				equal(t, what, got, v)
				equal(t, "all of "+what, slices.Collect(table(tx).All()), []V{v})
			})
			r.reopen()
		}
	}
	for range 2 { // the second time there is nothing to delete
		r.update(func(tx roles.Tx) error { return table(tx).Delete(k) })
		r.view(func(tx roles.Tx) {
			if _, ok := table(tx).Get(k); ok {
				t.Errorf("deleted %s %v is there", what, k)
			}
		})
	}
	r.reopen()
}

func testKeys(t *testing.T, r *rack) {
	for what, put := range map[string]func(roles.Tx) error{
		"role":    func(tx roles.Tx) error { return tx.Roles().Put(roles.Role{}) },
		"slot":    func(tx roles.Tx) error { return tx.Slots().Put(roles.Slot{Pool: "web"}) },
		"node":    func(tx roles.Tx) error { return tx.Nodes().Put(roles.Node{}) },
		"boot":    func(tx roles.Tx) error { return tx.Boots().Put(roles.Boot{Node: mac(1)}) },
		"secret":  func(tx roles.Tx) error { return tx.Secrets().Put(roles.Secret{Value: []byte("x")}) },
		"rollout": func(tx roles.Tx) error { r := FullRollout(); r.Pool = ""; return tx.Rollouts().Put(r) },
		"pair":    func(tx roles.Tx) error { return tx.Pairs().Put(roles.Pair{Active: "web-01"}) },
		"long":    func(tx roles.Tx) error { return tx.Roles().Put(roles.Role{Name: strings.Repeat("x", 40_000)}) },
	} {
		if err := r.Update(t.Context(), put); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s with a bad key: got %v, want fs.ErrInvalid", what, err)
		}
	}
	r.view(func(tx roles.Tx) {
		if _, ok := tx.Roles().Get(""); ok {
			t.Error("there is a role without a name")
		}
	})
}

func testOrder(t *testing.T, r *rack) {
	names := []string{"web", "a", "web-a", "we", "ntp", "we\x00b"}
	r.update(func(tx roles.Tx) error {
		for i, n := range names {
			if err := tx.Roles().Put(roles.Role{Name: n}); err != nil {
				return err
			}
			if err := tx.Nodes().Put(roles.Node{MAC: mac(len(names) - i)}); err != nil {
				return err
			}
			if err := tx.Boots().Put(roles.Boot{ID: uint64(1000 - 300*i%1000)}); err != nil {
				return err
			}
		}
		return nil
	})
	r.view(func(tx roles.Tx) {
		equal(t, "names", pick(tx.Roles().All(), func(r roles.Role) string { return r.Name }), slices.Sorted(slices.Values(names)))
		if got := pick(tx.Boots().All(), func(b roles.Boot) uint64 { return b.ID }); !slices.IsSorted(got) || len(got) != len(names) {
			t.Errorf("boots in the order %v", got)
		}
		got := pick(tx.Nodes().All(), func(n roles.Node) roles.MAC { return n.MAC })
		if len(got) != len(names) || !slices.IsSortedFunc(got, func(a, b roles.MAC) int { return slices.Compare(a[:], b[:]) }) {
			t.Errorf("nodes in the order %v", got)
		}
		for n := range tx.Roles().All() { // a loop may end early
			if n.Name != "a" {
				t.Errorf("first role %q", n.Name)
			}
			break
		}
	})
}

func testReadOnly(t *testing.T, r *rack) {
	r.update(Fill)
	before := Dump(r.Store)
	r.view(func(tx roles.Tx) {
		_, appendErr := tx.Append(roles.Event{})
		_, bootErr := tx.NextBoot()
		for what, err := range map[string]error{
			"Append": appendErr, "NextBoot": bootErr,
			"Roles.Put": tx.Roles().Put(FullRole()), "Roles.Delete": tx.Roles().Delete("web"),
			"Slots.Put": tx.Slots().Put(slot("web", 1)), "Slots.Delete": tx.Slots().Delete("web-01"),
			"Nodes.Put": tx.Nodes().Put(FullNode()), "Nodes.Delete": tx.Nodes().Delete(mac(7)),
			"Boots.Put": tx.Boots().Put(FullBoot()), "Boots.Delete": tx.Boots().Delete(3),
			"Secrets.Put": tx.Secrets().Put(FullSecret()), "Secrets.Delete": tx.Secrets().Delete(FullSecret().Key),
			"Rollouts.Put": tx.Rollouts().Put(FullRollout()), "Rollouts.Delete": tx.Rollouts().Delete("web"),
			"Pairs.Put": tx.Pairs().Put(FullPair()), "Pairs.Delete": tx.Pairs().Delete("web"),
		} {
			if err == nil {
				t.Errorf("%s in a View returned nil", what)
			}
		}
	})
	equal(t, "after writing in a View", Dump(r.Store), before)
}

func testCopies(t *testing.T, r *rack) {
	in := FullNode()
	r.update(func(tx roles.Tx) error { return tx.Nodes().Put(in) })
	in.Labels["rack"] = "written later"
	in.Match[0] = "written later"
	in.Power.Target = "written later"
	in.Facts.Inventory.NICs[0].Name = "written later"
	r.view(func(tx roles.Tx) {
		out, _ := tx.Nodes().Get(mac(1))
		equal(t, "after writing into what was put", out, FullNode())
		out.State, out.Labels, out.Power, out.Facts.Inventory = roles.StateFailed, nil, nil, nil
		again, _ := tx.Nodes().Get(mac(1))
		equal(t, "after changing what was read", again, FullNode())
	})
}
