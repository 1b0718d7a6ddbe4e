package roles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds of what the reconciler does for storage pairs.
const (
	// fencedWait is how long a machine that was fenced stays off where its other half does not serve.
	fencedWait = 60 * time.Second
	// onAgain is the pause between two attempts to switch it on.
	onAgain = 30 * time.Second
	// fencingEvery is the pause between two tests whether a half can be fenced.
	fencingEvery = time.Minute
	// missStands is how long it counts more that a half could not be switched off than that its power answers: the
	// test only asks, which a BMC may allow to who may not switch.
	missStands = 15 * time.Minute
)

// pairWork is what the reconciler does for storage pairs in the background. Each piece ends within cutTimeout.
type pairWork struct {
	sync.WaitGroup
	tested time.Time // when it was last tested whether halves can be fenced
	looked time.Time // when it was last looked for dead ones
}

// tendPairs switches fenced machines on again, tests whether the others could be fenced, and tells what became of
// the pairs.
func (c *Reconciler) tendPairs(ctx context.Context, now time.Time) error {
	var looks []pairLook
	r := c.Registry
	err := r.Store.View(func(tx Tx) error {
		looks = nil
		for p := range tx.Pools().All() {
			if p.Pair != nil {
				looks = append(looks, r.pairLook(tx, p))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	test := now.Sub(c.pairs.tested) >= fencingEvery
	if test {
		c.pairs.tested = now
	}
	lookDead := now.Sub(c.pairs.looked) >= deadEvery
	if lookDead {
		c.pairs.looked = now
	}
	for _, l := range looks {
		for i, s := range l.Sides {
			if at, fenced := l.Pair.Fenced[s.Slot]; fenced && r.onDue(l, i, at) {
				c.pairs.Go(func() { r.onAgain(ctx, l.Pair.Pool, s, at) })
			}
			if test && !s.Node.IsZero() {
				c.pairs.Go(func() { r.testFencing(ctx, s, l.Sides[1-i]) })
			}
			if lookDead && s.State == StateBooting {
				c.pairs.Go(func() { r.findDead(ctx, s) })
			}
		}
		if err := r.tellState(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// onDue reports whether a machine that was fenced is to be switched on now. One in maintenance is, after that.
func (r *Registry) onDue(l pairLook, i int, at time.Time) bool {
	s, o := l.Sides[i], l.Sides[1-i]
	if s.State == StateOff && slices.Contains(l.Pair.Standby, s.Slot) {
		return false // somebody works at it
	}
	if s.State == StateOff || s.State == StateFailed {
		serves := l.fresh(1-i) && o.Half.Active && !o.Heard.Before(at)
		if !serves && l.Now.Sub(at) < fencedWait {
			return false
		}
	}
	return r.pairs.tryOn(s.Slot, l.Now)
}

// tryOn reports whether a machine may be switched on now, and notes that it was tried.
func (m *pairMemory) tryOn(slot string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.ons[slot]; ok && now.Sub(last) < onAgain {
		return false
	}
	m.ons[slot] = now
	return true
}

// onAgain switches the machine in a slot on, which was fenced then. One that is on, or gone, is only noted as
// such; one that an operator switched off meanwhile stays so.
func (r *Registry) onAgain(ctx context.Context, pool string, s pairSide, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, cutTimeout)
	defer cancel()
	n, ok := r.peek(s.Node)
	message := "is on again"
	if ok && r.mayBeOff(n) {
		if err := r.switchOn(ctx, n); err != nil {
			r.log().Warn("fenced storage machine could not be switched on again", "node", s.Slot, "mac", s.Node, "err", err)
			r.notOn(ctx, s, fmt.Sprintf("was fenced, and could not be switched on again: %v; do it by hand", err))
			return
		}
		message = "switched on again"
	}
	var again bool
	err := r.Store.Update(ctx, func(tx Tx) error {
		again = false
		p := pairOf(tx, pool)
		if !p.Fenced[s.Slot].Equal(at) {
			return nil
		}
		p.Fenced = maps.Clone(p.Fenced)
		if delete(p.Fenced, s.Slot); len(p.Fenced) == 0 {
			p.Fenced = nil
		}
		if err := tx.Pairs().Put(p); err != nil || !ok {
			return err
		}
		again = true
		return r.tellPair(tx, []pairEvent{{Slot: s.Slot, Step: StepFence, Message: message}})
	})
	r.pairs.triedOn(s.Slot)
	if err != nil {
		r.log().Error("storage machine is on again, and that was not noted", "node", s.Slot, "err", err)
	} else if again {
		r.log().Info("storage machine switched on again", "node", s.Slot, "mac", s.Node)
	}
}

// mayBeOff reports whether a machine that was fenced may still be off: also where its boot was noted, and nothing was
// heard of it since. Who noted that may have died before it was switched on.
func (r *Registry) mayBeOff(n Node) bool {
	if n.State != StateBooting {
		return n.State == StateOff || n.State == StateFailed
	}
	b, err := r.Boot(n.MAC.String(), 0)
	return err == nil && b.Step == StepPower
}

// switchOn switches n on. Its boot is recorded first, but not where its driver does not answer at all; one that boots
// and is on is left alone.
func (r *Registry) switchOn(ctx context.Context, n Node) error {
	d, target, err := r.driver(n)
	if err != nil {
		return err
	}
	on, err := d.Status(ctx, target)
	if err != nil || on && n.State == StateBooting {
		return err
	}
	if err := r.switched(ctx, n.MAC, PowerOn, ""); err != nil {
		return err
	}
	return d.On(ctx, target)
}

// triedOn forgets when a machine was switched on: the next time is another one.
func (m *pairMemory) triedOn(slot string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.ons, slot)
}

// notOn records why a machine that was to be on is not. It has failed: another one may take its place while this is
// tried again.
func (r *Registry) notOn(ctx context.Context, s pairSide, why string) {
	now := r.now()
	err := r.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		n, ok := tx.Nodes().Get(s.Node)
		if !ok || n.Why == why {
			return nil
		}
		b, ok := latest(tx, n)
		if n.State == StateBooting && (!ok || b.Step != StepPower) {
			return nil // it boots after all
		}
		if ok && b.Ended.IsZero() {
			b.Ended = now
			if err := tx.Boots().Put(b); err != nil {
				return err
			}
		}
		n.enter(StateFailed, why, now)
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
		return r.tellPair(tx, []pairEvent{{Slot: s.Slot, Step: StepFence, Error: why}})
	})
	if err != nil {
		r.log().Error("event not recorded", "node", s.Slot, "err", err)
	}
}

// unfence forgets that n was fenced: an operator decides about its power now.
func unfence(tx Tx, n Node) error {
	s, ok := tx.Slots().Get(n.Slot)
	if !ok {
		return nil
	}
	p, ok := tx.Pairs().Get(s.Pool)
	if _, fenced := p.Fenced[s.Name]; !ok || !fenced {
		return nil
	}
	p.Fenced = maps.Clone(p.Fenced)
	delete(p.Fenced, s.Name)
	return tx.Pairs().Put(p)
}

// testFencing asks whether the machine in a slot could be fenced by the other half's, and tells when the answer changes.
func (r *Registry) testFencing(ctx context.Context, s, by pairSide) {
	n, ok := r.peek(s.Node)
	if !ok {
		return
	}
	tctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	err := r.fenceable(tctx, n, s.Slot)
	if other, ok := r.peek(by.Node); ok && err == nil {
		err = r.fenceTarget(other, n)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%s cannot be fenced: its power does not answer within %s", s.Slot, Duration(tryTimeout))
	}
	was, now := r.pairs.fencingIs(s.Slot, err, r.now())
	ev := pairEvent{Slot: s.Slot, Step: StepFence, Message: "can be fenced again"}
	switch {
	case was.why == now.why:
		return
	case now.why != "" && was.why != "":
		return // still not; the words differ
	case !was.missed.IsZero():
		return // nobody has tried again to switch it off
	case now.why != "":
		ev.Message, ev.Error = "", now.why+"; until that is mended the other half does not take over"
	}
	err = r.Store.Update(ctx, func(tx Tx) error { return r.tellPair(tx, []pairEvent{ev}) })
	r.logPair(ev, err)
}

func (m *pairMemory) fencingIs(slot string, err error, at time.Time) (was, now fencing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening(at)
	was, now.at = m.fencing[slot], at
	if err != nil {
		now.why = err.Error()
	} else if at.Sub(was.missed) < missStands {
		now.why, now.missed = was.why, was.missed
	}
	m.fencing[slot] = now
	return was, now
}
