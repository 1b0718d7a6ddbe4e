package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Nodes gives every node, by MAC.
func (r *Registry) Nodes() (out []Node, err error) {
	err = r.Store.View(func(tx Tx) error {
		for n := range tx.Nodes().All() {
			out = append(out, n.shown())
		}
		return nil
	})
	return out, err
}

// shown fills in what is derived.
func (n Node) shown() Node {
	if n.Slot == "" {
		n.Address = n.Facts.Address
	}
	return n
}

// Node gives one node.
func (r *Registry) Node(key string) (n Node, err error) {
	err = r.Store.View(func(tx Tx) error { n, err = find(tx, key); return err })
	return n.shown(), err
}

// find gives the node that key names: a MAC, or the slot that it occupies.
func find(tx Tx, key string) (Node, error) {
	if mac, err := ParseMAC(key); err == nil {
		if n, ok := tx.Nodes().Get(mac); ok {
			return n, nil
		}
		return Node{}, fmt.Errorf("node %s is not known (muster node list shows those that are): %w", mac, fs.ErrNotExist)
	}
	s, ok := tx.Slots().Get(key)
	if !ok {
		return Node{}, fmt.Errorf("%q is neither a MAC address nor a slot: %w", key, fs.ErrNotExist)
	}
	if n, ok := tx.Nodes().Get(s.Node); ok {
		return n, nil
	}
	return Node{}, fmt.Errorf("slot %s is empty: %w", key, fs.ErrNotExist)
}

// Boots gives a node's boots, newest first, with their events.
func (r *Registry) Boots(key string) (out []Boot, err error) {
	err = r.Store.View(func(tx Tx) error {
		n, err := find(tx, key)
		if err != nil {
			return err
		}
		out = slices.Collect(tx.BootsOf(n.MAC))
		return nil
	})
	return out, err
}

// Boot gives one boot of a node; id 0 is the latest.
func (r *Registry) Boot(key string, id uint64) (Boot, error) {
	boots, err := r.Boots(key)
	if err != nil {
		return Boot{}, err
	}
	for _, b := range boots {
		if id == 0 || b.ID == id {
			return b, nil
		}
	}
	if id == 0 {
		return Boot{}, fmt.Errorf("%s has not booted yet: %w", key, fs.ErrNotExist)
	}
	return Boot{}, fmt.Errorf("%s has no boot %d (only its last %d are kept): %w", key, id, BootsKept, fs.ErrNotExist)
}

// Events gives up to limit events of the log with Seq > after, oldest first; limit 0 means all.
func (r *Registry) Events(after uint64, limit int) (out []Event, err error) {
	err = r.Store.View(func(tx Tx) error {
		for ev := range tx.Events(after) {
			if out = append(out, ev); len(out) == limit {
				return nil
			}
		}
		return nil
	})
	return out, err
}

// Revision is the store's; Watch returns a channel that is closed when it is above rev.
func (r *Registry) Revision() (rev uint64) {
	_ = r.Store.View(func(tx Tx) error { rev = tx.Revision(); return nil })
	return rev
}

// Watch returns a channel that is closed when the rack's revision is above rev.
func (r *Registry) Watch(rev uint64) <-chan struct{} { return r.Store.Watch(rev) }

// Assign gives a node to a pool, and to a slot there when slot is not empty. A node that waits goes there
// at once; one that runs keeps its slot, drained, until its next boot. The key may be a MAC never seen.
func (r *Registry) Assign(ctx context.Context, key, pool, slot string) (out Node, err error) {
	now := r.now()
	err = r.Store.Update(ctx, func(tx Tx) error {
		n, err := find(tx, key)
		if mac, perr := ParseMAC(key); err != nil && perr == nil {
			n, err = Node{MAC: mac, State: StateOff, Since: now}, nil
		}
		if err != nil {
			return err
		}
		if err := assignable(tx, n, pool, slot); err != nil {
			return err
		}
		from := n.Slot
		n.Pool, n.Assigned, n.WantSlot, n.Replaced, n.Released = pool, true, slot, nil, false
		if out, err = r.reassign(tx, n, pool, slot); err != nil {
			return err
		}
		return operator(tx, out, now, fmt.Sprintf("assigned to %s%s", cmp.Or(slot, "pool "+pool), wasIn(from)))
	})
	if err == nil {
		r.log().Info("node assigned", "mac", out.MAC, "node", out.Slot, "pool", pool, "state", out.State)
	}
	return out.shown(), err
}

// reassign settles a node whose pool has just been set.
func (r *Registry) reassign(tx Tx, n Node, pool, slot string) (Node, error) {
	now := r.now()
	cur, has := tx.Slots().Get(n.Slot)
	switch {
	case has && cur.Pool == pool && (slot == "" || slot == cur.Name):
		if n.State == StateDraining {
			// It was on its way elsewhere and stays after all.
			n.enter(StateBooting, "", now)
			if b, ok := latest(tx, n); ok && b.Ready && n.Restart == "" {
				n.enter(StateReady, "", now)
			}
		}
		n.Joined = "assigned to pool " + pool + " by an operator"
		return n, tx.Nodes().Put(n)
	case has && (n.State == StateReady || n.State == StateBooting || n.State == StateDraining):
		n.enter(StateDraining, fmt.Sprintf("moves from %s to %s at its next boot", n.Slot, cmp.Or(slot, pool)), now)
		return n, tx.Nodes().Put(n)
	}
	n, err := vacate(tx, n, now)
	if err != nil {
		return n, err
	}
	n.retry(now)
	return settleLater(tx, n, now)
}

// retry takes back that n failed. It did as what it was; as what it becomes now it has not been tried, and
// no other machine may take its place.
func (n *Node) retry(now time.Time) {
	if n.State == StateFailed {
		n.enter(StateWaiting, "", now)
		n.Failures = 0
	}
}

// assignable says in advance what would keep n from its place.
func assignable(tx Tx, n Node, pool, slot string) error {
	if _, ok := tx.Pools().Get(pool); !ok {
		return fmt.Errorf("pool %q does not exist (there are: %s): %w", pool, names(tx), fs.ErrNotExist)
	}
	if slot != "" {
		s, ok := tx.Slots().Get(slot)
		if !ok || s.Pool != pool {
			return fmt.Errorf("pool %s has no slot %q: %w", pool, slot, fs.ErrNotExist)
		}
		if !s.Node.IsZero() && s.Node != n.MAC {
			return fmt.Errorf("slot %s is occupied by %s; to give it to %s: muster node replace %s %s: %w", slot, s.Node, n.MAC, slot, n.MAC, fs.ErrExist)
		}
		return nil
	}
	for s := range tx.SlotsOf(pool) {
		if s.Node.IsZero() || s.Node == n.MAC {
			return nil
		}
	}
	return fmt.Errorf("pool %s is full: release a node, or raise its size: %w", pool, fs.ErrExist)
}

func names(tx Tx) string {
	var out []string
	for p := range tx.Pools().All() {
		out = append(out, p.Name)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// Release takes a node out of its slot and pool; it waits until somebody assigns it. Its slot keeps its
// state for the next occupant.
func (r *Registry) Release(ctx context.Context, key string) (out Node, err error) {
	now := r.now()
	err = r.Store.Update(ctx, func(tx Tx) error {
		n, err := find(tx, key)
		if err != nil {
			return err
		}
		if err := r.staysHalf(tx, n, now); err != nil {
			return err
		}
		from := n.Slot
		if n, err = vacate(tx, n, now); err != nil {
			return err
		}
		// Without this mark the pool's rule would take it back at once.
		n.Pool, n.Assigned, n.WantSlot, n.Match = "", false, "", nil
		n.Replaced, n.Released = nil, true
		n.enter(StateWaiting, "released by an operator", now)
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
		out = n
		return operator(tx, n, now, "released"+wasIn(from))
	})
	return out.shown(), err
}

// Replace gives the slot of old to the machine new, which may never have been seen. Old is switched off, if
// it has a power driver, and waits.
func (r *Registry) Replace(ctx context.Context, old, new string) (out Node, err error) {
	now := r.now()
	err = r.taking(ctx, func(tx Tx, fenced MAC) error {
		o, err := find(tx, old)
		if err != nil {
			return err
		}
		if o.Slot == "" {
			return fmt.Errorf("%s occupies no slot: nothing to take over: %w", old, fs.ErrInvalid)
		}
		mac, err := ParseMAC(new)
		if err != nil {
			return fmt.Errorf("%w: %w", err, fs.ErrInvalid)
		}
		if mac == o.MAC {
			return fmt.Errorf("%s cannot replace itself: %w", mac, fs.ErrInvalid)
		}
		n, ok := tx.Nodes().Get(mac)
		if !ok {
			n = Node{MAC: mac, State: StateOff, Since: now}
		}
		if runsAs(tx, n) {
			return fmt.Errorf("%s runs as %s: switch it off or release it first: %w", mac, n.Slot, fs.ErrExist)
		}
		if o.State != StateOff && o.State != StateWaiting && fenced != o.MAC {
			return &unfenced{o.Slot, o.MAC, mac}
		}
		s, _ := tx.Slots().Get(o.Slot)
		n.Assigned, n.WantSlot, n.Released = true, s.Name, false
		n.retry(now)
		p := Placement{Pool: s.Pool, Slot: s.Name, Takes: o.MAC, Why: fmt.Sprintf("replaces %s, by an operator", o.MAC)}
		if out, err = occupy(tx, n, p, now); err != nil {
			return err
		}
		return operator(tx, out, now, fmt.Sprintf("replaces %s in %s", o.MAC, s.Name))
	})
	return out.shown(), err
}

// runsAs reports whether n's machine has, or may be about to take, the identity of its slot.
func runsAs(tx Tx, n Node) bool {
	switch {
	case n.Slot == "":
		return false
	case n.Restart != "":
		return true
	case n.State == StateBooting:
		b, ok := latest(tx, n)
		return ok && b.Ended.IsZero() && order(b.Step) >= order(StepSpec)
	}
	return n.State == StateReady || n.State == StateDraining
}

// Forget deletes what is known of a node. When it boots again it is a machine never seen.
func (r *Registry) Forget(ctx context.Context, key string) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		n, err := find(tx, key)
		if err != nil {
			return err
		}
		if n.State == StateReady {
			return fmt.Errorf("%s serves as %s: release it or switch it off first: %w", n.MAC, n.Slot, fs.ErrExist)
		}
		if err := r.staysHalf(tx, n, now); err != nil {
			return err
		}
		from := n.Slot
		if n, err = vacate(tx, n, now); err != nil {
			return err
		}
		if err := operator(tx, n, now, "forgotten"+wasIn(from)); err != nil {
			return err
		}
		for b := range tx.BootsOf(n.MAC) {
			if err := tx.Boots().Delete(b.ID); err != nil {
				return err
			}
		}
		return tx.Nodes().Delete(n.MAC)
	})
}

func operator(tx Tx, n Node, at time.Time, message string) error {
	_, err := tx.Append(Event{Time: at, Node: n.MAC, Name: n.Slot, Step: StepOperator, Message: message})
	return err
}

func wasIn(slot string) string {
	if slot == "" {
		return ""
	}
	return ", was " + slot
}
