package state

import (
	"encoding/json"
	"iter"
	"slices"

	"muster/roles"
)

var bootKind = &kind[uint64, roles.Boot]{
	name: "boots",
	key:  func(b *roles.Boot) uint64 { return b.ID },
	id:   key64,
	indexes: map[string]func(*roles.Boot) ([]byte, bool){
		"node": func(b *roles.Boot) ([]byte, bool) { return keyOf(b.Node), true },
	},
	encode: func(b roles.Boot) ([]byte, error) {
		return json.Marshal(storedBoot{Boot: b, Token: b.Token, Claim: b.Claim})
	},
	decode: func(data []byte) (roles.Boot, error) {
		var s storedBoot
		err := json.Unmarshal(data, &s)
		s.Boot.Token, s.Boot.Claim = s.Token, s.Claim
		return s.Boot, err
	},
}

// storedBoot adds token and claim, which no listing has, and hides Events, which are stored one by one.
type storedBoot struct {
	roles.Boot
	Token  string    `json:"token,omitempty"`
	Claim  string    `json:"claim,omitempty"`
	Events *struct{} `json:"events,omitempty"`
}

// bootTable assembles Events at every reading: adding an event does not rewrite its boot.
type bootTable struct {
	table[uint64, roles.Boot]
}

// Boots implements roles.Tx.
func (t *tx) Boots() roles.Table[uint64, roles.Boot] { return t.boots() }

func (t *tx) boots() bootTable { return bootTable{table[uint64, roles.Boot]{t, bootKind}} }

// Get implements roles.Table.
func (t bootTable) Get(id uint64) (roles.Boot, bool) {
	b, ok := t.table.Get(id)
	if ok {
		b.Events = t.tx.timeline(id)
	}
	return b, ok
}

// All implements roles.Table.
func (t bootTable) All() iter.Seq[roles.Boot] {
	return func(yield func(roles.Boot) bool) {
		for b := range t.table.All() {
			b.Events = t.tx.timeline(b.ID)
			if !yield(b) {
				return
			}
		}
	}
}

// Put implements roles.Table. Events are ignored: Tx.Append adds to them. A node's boots beyond the latest
// roles.BootsKept are deleted, but for the one that runs.
func (t bootTable) Put(b roles.Boot) error {
	b.Events = nil
	if err := t.table.Put(b); err != nil {
		return err
	}
	return t.tx.keepBoots(b.Node, roles.BootsKept)
}

// Delete implements roles.Table. The boot's events stay in the log.
func (t bootTable) Delete(id uint64) error {
	if err := t.table.Delete(id); err != nil {
		return err
	}
	t.tx.dropTimeline(id)
	return nil
}

// BootsOf implements roles.Tx.
func (t *tx) BootsOf(node roles.MAC) iter.Seq[roles.Boot] {
	return func(yield func(roles.Boot) bool) {
		for _, row := range slices.Backward(t.bootRows(node)) {
			b := *row
			b.Events = t.timeline(b.ID)
			if !yield(b) {
				return
			}
		}
	}
}

func (t *tx) bootRows(node roles.MAC) []*roles.Boot {
	return slices.Collect(rows[*roles.Boot](t.txn, bootKind.name, "node", keyOf(node)))
}

// keepBoots deletes all but a node's latest boots, and the latest whose kernel spoke or that was claimed: that one runs,
// however many packets somebody sends in its name. With latest 0 all go.
func (t *tx) keepBoots(node roles.MAC, latest int) error {
	all := t.bootRows(node)
	var runs uint64
	for _, b := range all {
		if !b.Up.IsZero() || b.Claim != "" {
			runs = b.ID
		}
	}
	for _, b := range all[:max(0, len(all)-latest)] {
		if b.ID == runs && latest > 0 {
			continue
		}
		if err := t.boots().Delete(b.ID); err != nil {
			return err
		}
	}
	return nil
}

// NextBoot implements roles.Tx.
func (t *tx) NextBoot() (uint64, error) { return t.next(bootCounter) }
