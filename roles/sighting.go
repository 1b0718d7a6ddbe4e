package roles

import (
	"context"
	"time"
)

// Sighting is something that a boot service saw a machine do.
type Sighting struct {
	MAC  MAC
	Time time.Time
	// Step is discover, lease, nbp, kernel or initrd.
	Step    Step
	Message string
	Error   string
	// Facts are merged into the node's: fields that are set win.
	Facts Facts
	// Boots says that the machine is booting from the network, so that one never seen becomes a node.
	// (A laptop that only wants an address does not.)
	Boots bool
}

// bootGap ends a boot that went silent before its script: the firmware gave up, and the next DISCOVER
// is another attempt. PXE ROMs retry for about a minute.
const bootGap = 2 * time.Minute

// Observe records sightings, in one transaction.
func (r *Registry) Observe(ctx context.Context, seen []Sighting) error {
	return r.Store.Update(ctx, func(tx Tx) error {
		for _, s := range seen {
			if err := observe(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

func observe(tx Tx, s Sighting) error {
	if s.MAC.IsZero() {
		return nil // garbage names no machine, and must not cost the others of its batch
	}
	n, ok := tx.Nodes().Get(s.MAC)
	if !ok {
		if !s.Boots {
			return nil
		}
		n = Node{MAC: s.MAC, State: StateWaiting, Since: s.Time, FirstSeen: s.Time}
	}
	if n.FirstSeen.IsZero() {
		n.FirstSeen = s.Time
	}
	if s.Time.After(n.LastSeen) {
		n.LastSeen = s.Time
	}
	n.Facts = n.Facts.merge(s.Facts)
	b, ok := latest(tx, n)
	if s.Step == StepDiscover && s.Boots && (!ok || restarts(b, s.Time)) {
		var err error
		if b, err = begin(tx, &n, s.Time); err != nil {
			return err
		}
		ok = true
	}
	if err := tx.Nodes().Put(n); err != nil || !ok || s.Step == "" || !b.Ended.IsZero() {
		return err
	}
	if s.Time.Before(b.Started) {
		return nil // of the boot before, told late
	}
	return advance(tx, n, &b, Event{Time: s.Time, Step: s.Step, Message: s.Message, Error: s.Error})
}

// restarts reports whether a DISCOVER at this time begins another boot than b.
func restarts(b Boot, at time.Time) bool {
	if !b.Ended.IsZero() {
		return !at.Before(b.Ended) // one told late belongs to what has ended
	}
	if order(b.Step) >= order(StepScript) {
		return !at.Before(b.Started)
	}
	last := b.Started
	if k := len(b.Events); k > 0 {
		last = b.Events[k-1].Time
	}
	// A machine that was switched on by Muster may take minutes to test its memory.
	return b.Step != StepPower && at.Sub(last) > bootGap
}

// merge gives f with the fields that are set in g replaced by g's.
func (f Facts) merge(g Facts) Facts {
	for _, p := range []struct {
		to   *string
		from string
	}{
		{&f.Arch, g.Arch}, {&f.Firmware, g.Firmware}, {&f.UUID, g.UUID}, {&f.Manufacturer, g.Manufacturer},
		{&f.Product, g.Product}, {&f.Serial, g.Serial}, {&f.Asset, g.Asset}, {&f.Circuit, g.Circuit}, {&f.Remote, g.Remote},
	} {
		if p.from != "" {
			*p.to = p.from
		}
	}
	if g.Address.IsValid() {
		f.Address = g.Address
	}
	if g.Inventory != nil {
		f.Inventory = g.Inventory
	}
	return f
}
