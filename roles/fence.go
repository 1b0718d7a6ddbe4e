package roles

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of fencing.
const (
	// fenceTimeout bounds the wait for a power driver when a slot changes hands: a machine boots meanwhile.
	fenceTimeout = 5 * time.Second
	// fenceRounds bounds how often the rack may change so, while a machine is switched off, that another
	// one has to be.
	fenceRounds = 5
)

// unfenced undoes a transaction that would give by the slot of old before old was switched off.
type unfenced struct {
	slot    string
	old, by MAC
}

func (u *unfenced) Error() string {
	return fmt.Sprintf("roles: %s cannot take over %s before %s is switched off", u.by, u.slot, u.old)
}

// taking runs fn in a transaction. Where that would take a slot from a machine that may still run, the
// machine is switched off first, so that two never write one state directory, and fn runs again, with the
// machine as fenced. Where it cannot be switched off, the agent's probe of the address is what keeps the
// two apart; half of a storage pair is not replaced then. One takes over after the other, so that none has a
// machine switched off whose slot goes to another.
func (r *Registry) taking(ctx context.Context, fn func(tx Tx, fenced MAC) error) error {
	var fenced MAC
	var u *unfenced
	try := func() error {
		u = nil
		return r.Store.Update(ctx, func(tx Tx) error { return fn(tx, fenced) })
	}
	if err := try(); !errors.As(err, &u) {
		return err
	}
	r.takeover.Lock()
	defer r.takeover.Unlock()
	for range fenceRounds {
		if err := try(); !errors.As(err, &u) {
			return err
		}
		if slot := r.halfIn(u); slot != nil {
			if err := r.fenceHalf(ctx, u, *slot); err != nil {
				return err
			}
		} else {
			r.fence(ctx, u)
		}
		fenced = u.old
	}
	return errors.New("roles: slots change hands faster than their machines can be switched off; ask again")
}

// fence switches off the machine whose slot another one is about to take, and says so in its events.
func (r *Registry) fence(ctx context.Context, u *unfenced) {
	old, ok := r.peek(u.old)
	if !ok {
		return
	}
	d, target, err := r.driver(old)
	if err != nil {
		return
	}
	offCtx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	ev := Event{Time: r.now(), Node: u.old, Name: u.slot, Step: StepPower, Message: fmt.Sprintf("switched off: %s takes over %s", u.by, u.slot)}
	if err := d.Off(offCtx, target); err != nil {
		r.log().Warn("machine could not be switched off before its slot is taken", "mac", u.old, "node", u.slot, "err", err)
		ev.Message, ev.Error = "", fmt.Sprintf("could not be switched off before %s takes over %s; do it by hand: %v", u.by, u.slot, err)
	} else {
		r.log().Info("machine switched off before its slot is taken", "mac", u.old, "node", u.slot)
	}
	if err := r.Store.Update(ctx, func(tx Tx) error { _, err := tx.Append(ev); return err }); err != nil {
		r.log().Error("event not recorded", "mac", u.old, "err", err)
	}
}
