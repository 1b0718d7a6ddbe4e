package roles

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// decision is what an operator decides about the half in a slot.
type decision struct {
	pairLook
	plan pairPlan
	pool Pool
	// i is the side it is about, o the other.
	i, o int
	// message tells of it in the half's events.
	message string
}

func (d *decision) slot() string { return d.Sides[d.i].Slot }
func (d *decision) peer() string { return d.Sides[d.o].Slot }

// refuse is an error by what the rack is like.
func refuse(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, fs.ErrInvalid)...)
}

// decide carries an operator's decision out, logs it, and gives the pair after it.
func (r *Registry) decide(ctx context.Context, slot string, fn func(d *decision) error) (PairView, error) {
	var d decision
	err := r.Store.Update(ctx, func(tx Tx) error {
		var err error
		if d, err = r.decision(tx, slot); err != nil {
			return err
		}
		if err := fn(&d); err != nil || d.message == "" {
			return err
		}
		if err := tx.Pairs().Put(d.Pair); err != nil {
			return err
		}
		return r.tellPair(tx, append(slices.Clip(d.plan.Events), pairEvent{Slot: d.slot(), Step: StepOperator, Message: d.message}))
	})
	if err != nil {
		return PairView{}, err
	}
	r.pairs.stir()
	if d.message != "" {
		for _, ev := range d.plan.Events {
			r.logPair(ev, nil)
		}
		r.log().Info("storage: an operator decided", "pool", d.pool.Name, "node", d.slot(), "what", d.message)
	}
	return r.Pair(d.pool.Name)
}

func (r *Registry) decision(tx Tx, slot string) (decision, error) {
	s, ok := tx.Slots().Get(slot)
	if mac, err := ParseMAC(slot); !ok && err == nil {
		n, _ := tx.Nodes().Get(mac)
		s, ok = tx.Slots().Get(n.Slot)
	}
	if !ok {
		return decision{}, fmt.Errorf("%q is no slot of a storage pair: %w", slot, fs.ErrNotExist)
	}
	p, err := pairPool(tx, s.Pool)
	if err != nil {
		return decision{}, err
	}
	d := decision{pairLook: r.pairLook(tx, p), pool: p}
	d.plan, _ = decidePair(d.pairLook)
	d.Pair = d.plan.Pair
	d.i = max(d.side(s.Name), 0)
	d.o = 1 - d.i
	return d, nil
}

// ClaimDisk gives a disk (its serial number or device) to the half in a slot, with all that is on it. The error
// wraps fs.ErrInvalid when the half reports another disk, or data that the pair itself needs.
func (r *Registry) ClaimDisk(ctx context.Context, slot, disk string) (PairView, error) {
	return r.decide(ctx, slot, func(d *decision) error {
		h := d.Sides[d.i].Half
		known := d.Pair.Disks[d.slot()]
		mine := h.Meta != "" && h.Meta == known.Meta
		switch {
		case !d.fresh(d.i):
			return refuse("%s is not heard: which disk it has is not known; switch it on first", d.slot())
		case h.Serial == "":
			return refuse("%s has found no disk by the pool's rule (%s); change pair.disk of pool %s so that it finds one", d.slot(), h.Why, d.pool.Name)
		case disk != h.Serial && disk != h.Disk:
			return refuse("%s found the disk %s (%s) by the pool's rule, not %q; to use another one change pair.disk of pool %s", d.slot(), h.Serial, h.Disk, disk, d.pool.Name)
		case h.Phase == PhaseRefused && h.Meta == "" && h.Carries == "":
			return refuse("%s cannot say what is on the disk %s: %s", d.slot(), h.Serial, h.Why)
		case h.Phase == PhaseCluster:
			return refuse("%s runs with this disk; take the half out of service and restart it first: muster storage maintenance %[1]s on", d.slot())
		case h.Meta != "" && h.Meta == d.Pair.Disks[d.peer()].Meta && !d.fresh(d.o):
			return refuse("this is the disk that %s had, and %[1]s is not heard: it may be the only one with the data", d.peer())
		case mine:
			return refuse("the disk %s is the pair's own already, and is not erased", h.Serial)
		case h.Meta == "" && h.Carries == "" && d.plan.Refused[d.i] == "":
			return refuse("the disk %s is blank: it is taken without a claim", h.Serial)
		}
		p := pairing{pairLook: d.pairLook}
		if why := p.mayMake(d.i); why != "" {
			return refuse("the disk %s is not erased now: %s", h.Serial, why)
		}
		if known.Serial == h.Serial {
			d.Pair.Disks = maps.Clone(d.Pair.Disks)
			delete(d.Pair.Disks, d.slot())
		}
		d.Pair.Claims = maps.Clone(d.Pair.Claims)
		if d.Pair.Claims == nil {
			d.Pair.Claims = map[string]string{}
		}
		d.Pair.Claims[d.slot()] = claimOn(h)
		d.message = fmt.Sprintf("gave the disk %s of %s to the pair, with all that is on it (%s)", h.Serial, d.slot(), carried(h))
		return nil
	})
}

// carried says what is on a disk.
func carried(h Half) string {
	switch {
	case h.Carries != "":
		return h.Carries
	case h.Meta != "":
		return "DRBD metadata " + h.Meta
	}
	return "nothing"
}

// PromoteHalf makes the pair go on with the data of one half alone, without the other half, which may have newer
// ones: they are lost. The other machine is switched off first; the error wraps fs.ErrInvalid where that can't be
// done, unless off says that somebody made sure.
func (r *Registry) PromoteHalf(ctx context.Context, slot string, off bool) (PairView, error) {
	var peer MAC
	look := func(d *decision) error { peer = d.Sides[d.o].Node; return d.promotable() }
	if err := r.consider(slot, look); err != nil {
		return PairView{}, err
	}
	if !off && !peer.IsZero() {
		if err := r.makeOff(ctx, peer, slot); err != nil {
			return PairView{}, err
		}
	}
	now := r.now()
	return r.decide(ctx, slot, func(d *decision) error {
		if d.Sides[d.o].Node != peer && !off {
			return refuse("another machine came into %s meanwhile; ask again", d.peer())
		}
		if d.fresh(d.o) {
			return refuse("%s speaks: it is not off", d.peer())
		}
		if err := d.promotable(); err != nil {
			return err
		}
		p := &d.Pair
		d.message = fmt.Sprintf("goes on with the data of %s alone, by an operator: what only %s has is lost", d.slot(), d.peer())
		if p.Outdated == d.slot() {
			d.message += fmt.Sprintf(" (%s said at %s that those of %s are not the newest)", p.OutdatedBy, p.OutdatedFrom.Format(time.DateTime), d.slot())
		}
		p.Promoted, p.PromotedAt, p.Keep = d.slot(), now, d.slot()
		p.Outdated, p.OutdatedBy, p.OutdatedFrom = d.peer(), d.slot(), now
		return nil
	})
}

// consider looks at a decision without carrying it out.
func (r *Registry) consider(slot string, fn func(d *decision) error) error {
	return r.Store.View(func(tx Tx) error {
		d, err := r.decision(tx, slot)
		if err != nil {
			return err
		}
		return fn(&d)
	})
}

// promotable says why a half cannot go on alone.
func (d *decision) promotable() error {
	s, o := d.Sides[d.i], d.Sides[d.o]
	switch {
	case d.Pair.Made.IsZero():
		return refuse("the pair %s is new: nothing is on it; it begins by itself when both machines are there", d.pool.Name)
	case !d.fresh(d.i):
		return refuse("%s is not heard: switch it on first (muster node power %[1]s on)", d.slot())
	case s.Half.Active:
		return refuse("%s serves already", d.slot())
	case slices.Contains(d.Pair.Standby, d.slot()):
		return refuse("%s is out of service, and would serve nothing; take it back first: muster storage maintenance %[1]s off", d.slot())
	case !d.attached(d.i):
		return refuse("%s has no disk of the pair at work: %s", d.slot(), s.Half.Why)
	case !d.Pair.Disks[d.slot()].Whole || s.Half.DiskState == inconsistent || s.Half.DiskState == diskless:
		return refuse("the data of %s are not complete (%s): a file system would be lost; only %s has them, or a backup", d.slot(), s.Half.DiskState, d.peer())
	case d.fresh(d.o) && o.Half.Active:
		return refuse("%s serves: there is nothing to decide", d.peer())
	case d.fresh(d.o) && d.Pair.Outdated == d.slot():
		return refuse("%s has newer data and is there: it serves by itself; if it never does, switch it off first (muster node power %[1]s off)", d.peer())
	}
	return nil
}

// makeOff switches the other half's machine off for an operator.
func (r *Registry) makeOff(ctx context.Context, peer MAC, slot string) error {
	n, ok := r.peek(peer)
	if !ok {
		return nil
	}
	const byHand = "make sure by hand that it is off, then: muster storage promote %s --peer-is-off"
	d, target, err := r.driver(n)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, shotTimeout)
		defer cancel()
		err = off(ctx, d, target)
	}
	if err != nil {
		return refuse("%s could not be switched off: %w; "+byHand, n.Slot, err, slot)
	}
	if n.State == StateOff {
		return nil
	}
	if err := r.switched(ctx, peer, PowerOff, ""); err != nil {
		return err
	}
	r.pairs.forget(n.Slot)
	return nil
}

// KeepHalf decides a split: the data of this half stay, those of the other are discarded.
func (r *Registry) KeepHalf(ctx context.Context, slot string) (PairView, error) {
	now := r.now()
	return r.decide(ctx, slot, func(d *decision) error {
		switch {
		case !d.split():
			return refuse("no half of pool %s reports a split: there is nothing to decide", d.pool.Name)
		case !d.fresh(d.i) || !d.attached(d.i):
			return refuse("%s is not heard with its disk: its data cannot be kept", d.slot())
		case !d.Pair.Disks[d.slot()].Whole || d.Sides[d.i].Half.DiskState == inconsistent:
			return refuse("the data of %s are not complete (%s)", d.slot(), d.Sides[d.i].Half.DiskState)
		case d.fresh(d.o) && d.Sides[d.o].Half.Active:
			return refuse("%s serves: its data cannot be discarded under the nodes that use them; take it out of service first: muster storage maintenance %[1]s on", d.peer())
		}
		p := &d.Pair
		p.Keep, p.Outdated, p.OutdatedBy, p.OutdatedFrom = d.slot(), d.peer(), d.slot(), now
		if p.Promoted == d.peer() {
			p.Promoted, p.PromotedAt = "", time.Time{}
		}
		d.message = fmt.Sprintf("its data stay after the split, by an operator; what only %s wrote is discarded", d.peer())
		return nil
	})
}

// MaintainHalf takes a half out of service, or back. The pair does not serve while no other half can.
func (r *Registry) MaintainHalf(ctx context.Context, slot string, on bool) (PairView, error) {
	return r.decide(ctx, slot, func(d *decision) error {
		p := &d.Pair
		had := slices.Contains(p.Standby, d.slot())
		if had == on {
			return nil
		}
		if !on {
			p.Standby = slices.DeleteFunc(slices.Clone(p.Standby), func(s string) bool { return s == d.slot() })
			d.message = "back in service, by an operator"
			if len(p.Standby) == 0 {
				p.Standby = nil
			}
			return nil
		}
		p.Standby = append(slices.Clip(p.Standby), d.slot())
		d.message = "taken out of service by an operator"
		runs, serves := d.serving()
		if slices.Contains(p.Standby, d.peer()) || !(serves && runs == d.o) && (!serves || d.lame(d.plan, d.o) != "") {
			d.message += fmt.Sprintf("; %s cannot serve now, so nothing is served", d.peer())
		}
		return nil
	})
}

// VerifyPair asks for a comparison of both disks, block by block; its outcome is in Half.Verify.
func (r *Registry) VerifyPair(ctx context.Context, pool string) (PairView, error) {
	p, err := r.Pool(pool)
	if err != nil {
		return PairView{}, err
	}
	if p.Pool.Pair == nil {
		return PairView{}, refuse("pool %s is no storage pair", pool)
	}
	now := r.now()
	return r.decide(ctx, p.Slots[0].Name, func(d *decision) error {
		if !d.inSync() {
			_, why := d.state(d.plan)
			return refuse("both disks can be compared only while both have all data and are connected: %s", why)
		}
		d.Pair.Verify = now
		d.message = "a comparison of both disks was asked for by an operator"
		return nil
	})
}
