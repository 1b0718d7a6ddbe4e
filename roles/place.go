package roles

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// views gives Resolve what tx holds.
func views(tx Tx) []PoolView {
	var out []PoolView
	for p := range tx.Pools().All() {
		v := PoolView{Pool: p}
		for s := range tx.SlotsOf(p.Name) {
			sv := SlotView{Slot: s}
			if !s.Node.IsZero() {
				if n, ok := tx.Nodes().Get(s.Node); ok {
					sv.Occupant = &n
				}
			}
			v.Slots = append(v.Slots, sv)
		}
		out = append(out, v)
	}
	return out
}

// settle resolves n and puts it where it belongs. It returns the node as stored. The error is an *unfenced,
// and nothing is written, when that is the slot of a failed machine other than fenced.
func settle(tx Tx, n Node, now time.Time, fenced MAC) (Node, Placement, error) {
	p := Resolve(n, views(tx), now)
	if !p.Takes.IsZero() && p.Takes != fenced {
		return n, p, &unfenced{p.Slot, p.Takes, n.MAC}
	}
	if p.Slot == "" {
		n.Why, n.Match = p.Why, p.Match
		return n, p, tx.Nodes().Put(n)
	}
	if p.Slot == n.Slot {
		return n, p, nil
	}
	n, err := occupy(tx, n, p, now)
	return n, p, err
}

// occupy gives n the slot of p: the one it had is left, and a failed occupant is replaced.
func occupy(tx Tx, n Node, p Placement, now time.Time) (Node, error) {
	if !p.Takes.IsZero() {
		if err := supplant(tx, p.Takes, n.MAC, p.Slot, now); err != nil {
			return n, err
		}
	}
	n, err := vacate(tx, n, now)
	if err != nil {
		return n, err
	}
	s, ok := tx.Slots().Get(p.Slot)
	if !ok {
		return n, fmt.Errorf("roles: slot %s is gone", p.Slot)
	}
	s.Node, s.Since, s.Used = n.MAC, now, true
	if err := tx.Slots().Put(s); err != nil {
		return n, err
	}
	n.Pool, n.Slot, n.Name, n.Address = p.Pool, s.Name, s.Name, s.Address
	n.Why, n.Joined, n.Match, n.Replaced = "", p.Why, p.Match, nil
	return n, tx.Nodes().Put(n)
}

// vacate takes n out of its slot, if it has one.
func vacate(tx Tx, n Node, now time.Time) (Node, error) {
	if n.Slot == "" {
		return n, nil
	}
	if s, ok := tx.Slots().Get(n.Slot); ok && s.Node == n.MAC {
		s.Node, s.Since = MAC{}, now
		if err := tx.Slots().Put(s); err != nil {
			return n, err
		}
	}
	n.Slot, n.Name, n.Address, n.Joined = "", "", n.Facts.Address, ""
	return n, tx.Nodes().Put(n)
}

// settleLater is settle for a node that does not boot now: it takes no failed machine's slot, which may
// recover until then.
func settleLater(tx Tx, n Node, now time.Time) (Node, error) {
	n, p, err := settle(tx, n, now, MAC{})
	if errors.As(err, new(*unfenced)) {
		n.Why = fmt.Sprintf("takes over %s when it boots, if %s has not recovered by then", p.Slot, p.Takes)
		return n, tx.Nodes().Put(n)
	}
	return n, err
}

// supplant takes the slot away from old because by replaces it.
func supplant(tx Tx, old, by MAC, slot string, now time.Time) error {
	n, ok := tx.Nodes().Get(old)
	if !ok {
		return nil
	}
	n, err := vacate(tx, n, now)
	if err != nil {
		return err
	}
	n.Pool, n.Assigned, n.WantSlot, n.Match = "", false, "", nil
	n.Replaced = &Replacement{Slot: slot, By: by, At: now}
	n.enter(StateWaiting, fmt.Sprintf("%s took over %s", by, slot), now)
	return tx.Nodes().Put(n)
}

// enter changes the state; Since changes with it.
func (n *Node) enter(s State, why string, now time.Time) {
	if n.State != s {
		n.State, n.Since = s, now
	}
	n.Why = why
}

// latest is n's latest boot.
func latest(tx Tx, n Node) (Boot, bool) {
	if n.Boot == 0 {
		return Boot{}, false
	}
	return tx.Boots().Get(n.Boot)
}

// begin starts a new boot of n. The node must be put by the caller.
func begin(tx Tx, n *Node, at time.Time) (Boot, error) {
	if b, ok := latest(tx, *n); ok && b.Ended.IsZero() {
		b.Ended = at
		if err := tx.Boots().Put(b); err != nil {
			return b, err
		}
	}
	id, err := tx.NextBoot()
	if err != nil {
		return Boot{}, err
	}
	b := Boot{ID: id, Node: n.MAC, Started: at, Slot: n.Slot}
	n.Boot, n.Failures, n.Sync = id, 0, false
	if n.State != StateDraining {
		n.enter(StateBooting, "", at)
	}
	if err := tx.Boots().Put(b); err != nil {
		return b, err
	}
	return b, n.restarted(tx, b)
}

// order is the place of a step in a boot; -1 for one that is not part of the way.
func order(s Step) int { return slices.Index(Steps, s) }

// advance appends an event to b's timeline and moves its furthest step. The caller must not hold an older
// copy of b.
func advance(tx Tx, n Node, b *Boot, ev Event) error {
	ev.Node, ev.Name, ev.Boot = n.MAC, n.Slot, b.ID
	if _, err := tx.Append(ev); err != nil {
		return err
	}
	if ev.Error == "" && order(ev.Step) > order(b.Step) {
		b.Step = ev.Step
	}
	return tx.Boots().Put(*b)
}
