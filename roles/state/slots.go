package state

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"

	"muster/roles"
)

var slotKind = &kind[string, roles.Slot]{
	name: "slots",
	key:  func(s *roles.Slot) string { return s.Name },
	id:   keyText,
	indexes: map[string]func(*roles.Slot) ([]byte, bool){
		"number":  func(s *roles.Slot) ([]byte, bool) { return slotNumber(s.Pool, s.Number), true },
		"address": slotAddress,
		"node":    func(s *roles.Slot) ([]byte, bool) { return keyOf(s.Node), !s.Node.IsZero() },
	},
}

func slotNumber(pool string, n int) []byte {
	return binary.BigEndian.AppendUint64(poolSlots(pool), uint64(n))
}

func poolSlots(pool string) []byte { return append([]byte(pool), 0) }

func slotAddress(s *roles.Slot) ([]byte, bool) {
	a := s.Address.As16()
	return a[:], s.Address.IsValid()
}

// slotTable notes which slots are put, for checkSlots.
type slotTable struct {
	table[string, roles.Slot]
}

// Slots implements roles.Tx.
func (t *tx) Slots() roles.Table[string, roles.Slot] {
	return slotTable{table[string, roles.Slot]{t, slotKind}}
}

// Put implements roles.Table. Address, occupant and number are checked for uniqueness at the end of the
// transaction.
func (t slotTable) Put(s roles.Slot) error {
	if err := t.table.Put(s); err != nil {
		return err
	}
	if t.tx.writes.slots == nil {
		t.tx.writes.slots = make(map[string]bool)
	}
	t.tx.writes.slots[s.Name] = true
	return nil
}

// SlotsOf implements roles.Tx.
func (t *tx) SlotsOf(pool string) iter.Seq[roles.Slot] {
	return values(rows[*roles.Slot](t.txn, slotKind.name, "number", poolSlots(pool)))
}

// slotOf gives the slot that a node occupies, nil for none.
func (t *tx) slotOf(node roles.MAC) *roles.Slot {
	if node.IsZero() {
		return nil
	}
	s, _ := first(t.txn, slotKind.name, "node", keyOf(node)).(*roles.Slot)
	return s
}

// checkSlots looks for a second owner of what the slots that were put claim.
func (t *tx) checkSlots() error {
	for _, name := range slices.Sorted(maps.Keys(t.writes.slots)) {
		s, ok := first(t.txn, slotKind.name, "id", keyText(name)).(*roles.Slot)
		if !ok {
			continue // deleted after it was put
		}
		for index, claim := range map[string]string{
			"address": "address " + s.Address.String(),
			"node":    "node " + s.Node.String(),
			"number":  fmt.Sprintf("number %d of pool %s", s.Number, s.Pool),
		} {
			v, ok := slotKind.indexes[index](s)
			if !ok {
				continue
			}
			for other := range rows[*roles.Slot](t.txn, slotKind.name, index, v) {
				if other.Name != name {
					return &fault{fmt.Sprintf("state: %s is taken: slot %s has it, slot %s cannot", claim, other.Name, name), fs.ErrExist}
				}
			}
		}
	}
	return nil
}
