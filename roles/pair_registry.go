package roles

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// PairReport takes what a half says of itself and gives its orders. The key is that of Present, with its errors;
// fs.ErrInvalid for a node whose pool is no pair. What it says is kept in memory: the store is written only when
// something has changed that must be known later.
func (r *Registry) PairReport(ctx context.Context, mac MAC, key string, h Half) (PairOrders, error) {
	w, err := r.half(mac, key)
	if err != nil {
		return PairOrders{}, err
	}
	h = h.clipped()
	now := r.now()
	before, after := r.pairs.hear(w, h, now)
	events := notes(w, before, h, after.full, r.pairs.listen(now))
	plan, changed, err := r.planPair(w.pool)
	if err != nil {
		return PairOrders{}, err
	}
	why := plan.refused(w.slot.Name)
	if why == "" && h.Phase == PhaseRefused {
		why = h.Why // no disk, or one that cannot be read
	}
	if r.pairs.refuses(w.slot.Name, why) {
		events = append(events, pairEvent{Slot: w.slot.Name, Step: StepStorage, Error: why})
	}
	if changed || len(events) > 0 {
		plan, err = r.keepPair(ctx, w.pool.Name, events)
	}
	return plan.orders(w.slot.Name), err
}

// half is halfOf in a transaction of its own.
func (r *Registry) half(mac MAC, key string) (w halfIdentity, err error) {
	err = r.Store.View(func(tx Tx) error { w, err = halfOf(tx, mac, key); return err })
	return w, err
}

// PairOf gives the pair of which a node is a half, by the key of PairReport and with its errors.
func (r *Registry) PairOf(mac MAC, key string) (pool string, err error) {
	w, err := r.half(mac, key)
	return w.pool.Name, err
}

// planPair looks at a pair; changed says that what the plan keeps is not what is kept.
func (r *Registry) planPair(p Pool) (plan pairPlan, changed bool, err error) {
	err = r.Store.View(func(tx Tx) error { plan, changed = decidePair(r.pairLook(tx, p)); return nil })
	return plan, changed, err
}

// keepPair looks at a pair and keeps what follows, with these events before those of the plan.
func (r *Registry) keepPair(ctx context.Context, pool string, events []pairEvent) (plan pairPlan, err error) {
	err = r.Store.Update(ctx, func(tx Tx) error {
		p, ok := tx.Pools().Get(pool)
		if !ok || p.Pair == nil {
			return fmt.Errorf("roles: pool %s is no storage pair any more: %w", pool, fs.ErrInvalid)
		}
		var changed bool
		if plan, changed = decidePair(r.pairLook(tx, p)); changed {
			if err := tx.Pairs().Put(plan.Pair); err != nil {
				return err
			}
		}
		return r.tellPair(tx, slices.Concat(events, plan.Events))
	})
	for _, ev := range slices.Concat(events, plan.Events) {
		r.logPair(ev, err)
	}
	return plan, err
}

// tellPair appends events of a pair's halves.
func (r *Registry) tellPair(tx Tx, events []pairEvent) error {
	now := r.now()
	for _, ev := range events {
		s, _ := tx.Slots().Get(ev.Slot)
		n, _ := tx.Nodes().Get(s.Node)
		if _, err := tx.Append(Event{Time: now, Node: s.Node, Name: ev.Slot, Boot: n.Boot, Step: ev.Step, Message: ev.Message, Error: ev.Error}); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) logPair(ev pairEvent, err error) {
	switch {
	case err != nil:
		r.log().Error("storage event not recorded", "node", ev.Slot, "what", ev.Message+ev.Error, "err", err)
	case ev.Error != "":
		r.log().Warn("storage", "node", ev.Slot, "err", ev.Error)
	default:
		r.log().Info("storage", "node", ev.Slot, "what", ev.Message)
	}
}

// orders are those of a slot.
func (p pairPlan) orders(slot string) PairOrders {
	if i := p.at(slot); i >= 0 {
		return p.Orders[i]
	}
	return PairOrders{}
}

func (p pairPlan) refused(slot string) string {
	if i := p.at(slot); i >= 0 {
		return p.Refused[i]
	}
	return ""
}

func (p pairPlan) at(slot string) int { return slices.Index(p.Slots[:], slot) }

// PairMade notes that the pair has its file system. Only the half that was told to make it may say so; it may
// say so again.
func (r *Registry) PairMade(ctx context.Context, mac MAC, key string) error {
	now := r.now()
	var made bool
	err := r.Store.Update(ctx, func(tx Tx) error {
		made = false
		w, err := halfOf(tx, mac, key)
		if err != nil {
			return err
		}
		p := pairOf(tx, w.pool.Name)
		mine, other := p.Disks[w.slot.Name], p.Disks[w.peer.Name]
		switch {
		case w.slot.Number > w.peer.Number:
			return fmt.Errorf("roles: %s makes the file system of this pair, not %s: %w", w.peer.Name, w.slot.Name, fs.ErrPermission)
		case !p.Made.IsZero():
			return nil
		case mine.Meta == "" || other.Meta == "":
			return fmt.Errorf("roles: the disks of pool %s are not both known: nobody was told to make a file system: %w", w.pool.Name, fs.ErrPermission)
		}
		made = true
		p.Made, mine.Whole = now, true
		p.Disks = maps.Clone(p.Disks)
		p.Disks[w.slot.Name] = mine
		if err := tx.Pairs().Put(p); err != nil {
			return err
		}
		return r.tellPair(tx, []pairEvent{{Slot: w.slot.Name, Step: StepStorage, Message: "made the file system of the new pair " + w.pool.Name}})
	})
	if err == nil && made {
		r.log().Info("storage pair is made", "mac", mac)
		r.pairs.stir()
	}
	return err
}

// PairOutdate notes that the data of the caller's peer are not the newest. The error wraps fs.ErrExist when the
// caller's own are not: that was noted before, or they are not complete.
func (r *Registry) PairOutdate(ctx context.Context, mac MAC, key string) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		w, err := halfOf(tx, mac, key)
		if err != nil {
			return err
		}
		p := pairOf(tx, w.pool.Name)
		if p.Outdated == w.peer.Name {
			return nil
		}
		if why := r.cannotOutdate(p, w, now); why != "" {
			return fmt.Errorf("roles: %s may not mark %s as outdated: %s: %w", w.slot.Name, w.peer.Name, why, fs.ErrExist)
		}
		p.Outdated, p.OutdatedBy, p.OutdatedFrom = w.peer.Name, w.slot.Name, now
		if err := tx.Pairs().Put(p); err != nil {
			return err
		}
		return r.tellPair(tx, []pairEvent{{Slot: w.peer.Name, Step: StepStorage, Message: "its data are not the newest, says " + w.slot.Name}})
	})
}

// cannotOutdate says why the data of the half w are not the newest.
func (r *Registry) cannotOutdate(p Pair, w halfIdentity, now time.Time) string {
	m := r.pairs.half(w.slot.Name, w.node.MAC)
	said := m.half.DiskState
	if now.Sub(m.at) > halfSilent {
		said = ""
	}
	switch {
	case p.Outdated == w.slot.Name:
		return fmt.Sprintf("its own data are not the newest, as %s said", p.OutdatedBy)
	case p.Made.IsZero():
		return "the pair is new, and nothing is on it"
	case !p.Disks[w.slot.Name].Whole:
		return "its own disk has never had all data"
	case said == inconsistent || said == outdated || said == diskless || said == "Failed":
		return "its own disk is " + said
	}
	return ""
}
