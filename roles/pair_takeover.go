package roles

import (
	"context"
	"fmt"
	"io/fs"
	"time"
)

// halfIn gives the slot that is about to change hands where it is half of a storage pair; nil where it is not.
func (r *Registry) halfIn(u *unfenced) (out *Slot) {
	_ = r.Store.View(func(tx Tx) error {
		s, ok := tx.Slots().Get(u.slot)
		if p, _ := tx.Pools().Get(s.Pool); ok && p.Pair != nil {
			out = &s
		}
		return nil
	})
	return out
}

// fenceHalf switches off the machine of a half whose slot another machine is about to take. Other than elsewhere
// it must be off for sure: from now on the other half's shots would go at the new machine, while the old one
// could still write.
func (r *Registry) fenceHalf(ctx context.Context, u *unfenced, s Slot) error {
	old, ok := r.peek(u.old)
	if !ok {
		return nil
	}
	var fenced bool
	_ = r.Store.View(func(tx Tx) error { _, fenced = pairOf(tx, s.Pool).Fenced[s.Name]; return nil })
	if fenced && old.State == StateFailed {
		return nil // it was off for sure, and could not be switched on again
	}
	if m := r.pairs.half(s.Name, u.old); m.half.Active && r.now().Sub(m.at) <= halfSilent {
		return fmt.Errorf("%s cannot take over %s, which serves; to replace it all the same take it out of service first (muster storage maintenance %[2]s on): %w",
			u.by, u.slot, fs.ErrExist)
	}
	d, target, err := r.driver(old)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
		defer cancel()
		err = off(ctx, d, target)
	}
	ev := pairEvent{Slot: s.Name, Step: StepPower, Message: fmt.Sprintf("%s switched off: %s takes over %s", u.old, u.by, u.slot)}
	if err != nil {
		err = fmt.Errorf("%s cannot take over %s: its machine until now, %s, may still run and cannot be switched off (%w); make sure by hand that it is off, then: muster node release %[3]s: %[5]w",
			u.by, u.slot, u.old, err, fs.ErrExist)
		ev.Message, ev.Error = "", err.Error()
		if r.pairs.misses(s.Name, ev.Error, r.now()) {
			return err
		}
	}
	told := r.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error { return r.tellPair(tx, []pairEvent{ev}) })
	r.logPair(ev, told)
	return err
}

// staysHalf says why a node cannot leave its slot: it is half of a storage pair, and may run. The other half's shots
// go at the machine in the slot, and would miss it from then on.
func (r *Registry) staysHalf(tx Tx, n Node, now time.Time) error {
	s, ok := tx.Slots().Get(n.Slot)
	p, _ := tx.Pools().Get(s.Pool)
	if !ok || p.Pair == nil || n.State == StateOff || n.State == StateWaiting {
		return nil
	}
	early := n.State != StateFailed && now.Sub(r.pairs.listen(now)) < halfGone // it may be about to speak
	if !early && !r.pairs.hears(n, now) {
		return nil
	}
	return fmt.Errorf("%s is half of the storage pair %s, and runs: switch it off first (muster node power %[1]s off): %[3]w", s.Name, p.Name, fs.ErrExist)
}
