package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"
)

// Bounds of fencing one half by the other.
const (
	// shotTimeout bounds a shot: a BMC may take that long to cut the power and to say so.
	shotTimeout = time.Minute
	// shotRight is how long a half that began to switch the other off keeps the right to it, where its boot
	// server died over it.
	shotRight = shotTimeout + 30*time.Second
	// shotPoll is the pause between two questions whether a machine is off.
	shotPoll = 500 * time.Millisecond
	// tryTimeout bounds the question whether a machine could be switched off.
	tryTimeout = 10 * time.Second
)

// shot is a machine being switched off; done is closed when err is known.
type shot struct {
	done chan struct{}
	err  error
}

// PairFence switches the caller's peer off and returns when it is off for sure, also when it was off already. The
// peer is switched on again later, when the caller serves. With try it only asks whether that could be done.
//
// Of two halves that want to switch each other off only the first may. An outdated half may not switch off one
// that speaks: that one has the newer data, and Pacemaker asks again. Both errors wrap fs.ErrPermission.
func (r *Registry) PairFence(ctx context.Context, mac MAC, key string, try bool) error {
	w, err := r.half(mac, key)
	if err != nil {
		return err
	}
	victim, ok := r.peek(w.peer.Node)
	if !ok {
		return nil // nobody is there
	}
	if err := r.fenceTarget(w.node, victim); err != nil {
		return err
	}
	if try {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		return r.fenceable(ctx, victim, w.peer.Name)
	}
	s, first := r.pairs.shoot(victim.MAC)
	if first {
		// It ends within shotTimeout. The caller may go away meanwhile: what was begun is ended and noted.
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shotTimeout)
			defer cancel()
			r.pairs.shotDone(victim.MAC, s, r.shoot(ctx, w, victim))
		}()
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("roles: %s is not off yet: %w", w.peer.Name, ctx.Err())
	}
}

// shoot gives the shot at a machine; first says that the caller is to carry it out.
func (m *pairMemory) shoot(victim MAC) (s *shot, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.shots[victim]; ok {
		return s, false
	}
	s = &shot{done: make(chan struct{})}
	if m.shots == nil {
		m.shots = map[MAC]*shot{}
	}
	m.shots[victim] = s
	return s, true
}

func (m *pairMemory) shotDone(victim MAC, s *shot, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.err = err
	delete(m.shots, victim)
	close(s.done)
}

// fenceable says why the machine in a slot could not be switched off.
func (r *Registry) fenceable(ctx context.Context, n Node, slot string) error {
	d, target, err := r.driver(n)
	if err != nil {
		return fmt.Errorf("%s cannot be fenced: %w", slot, err)
	}
	if _, err := d.Status(ctx, target); err != nil {
		return fmt.Errorf("%s cannot be fenced, its power does not answer: %w", slot, err)
	}
	return nil
}

// fenceTarget refuses a victim whose power is the caller's own.
func (r *Registry) fenceTarget(caller, victim Node) error {
	_, mine, err := r.driver(caller)
	if err != nil {
		return nil
	}
	if _, theirs, err := r.driver(victim); err == nil && mine == theirs && r.driverName(caller) == r.driverName(victim) {
		return fmt.Errorf("%s and %s are declared with the same power target %q: each would switch itself off: %w", caller.Slot, victim.Slot, mine, fs.ErrInvalid)
	}
	return nil
}

func (r *Registry) driverName(n Node) string {
	if n.Power != nil {
		return n.Power.Driver
	}
	return r.DefaultPower
}

// shoot switches the victim off for w.
func (r *Registry) shoot(ctx context.Context, w halfIdentity, victim Node) error {
	d, target, err := r.driver(victim)
	if err != nil {
		if victim.State == StateOff {
			return nil // it never ran since Muster knows it
		}
		return r.missed(ctx, w, fmt.Errorf("%s cannot be fenced: %w", w.peer.Name, err))
	}
	on, err := d.Status(ctx, target)
	if err == nil && !on && victim.State == StateOff {
		return nil
	}
	// One that is off though nobody wanted that has crashed, or lost its power: it is to come back as well.
	if err := r.aim(ctx, w, err == nil && !on); err != nil {
		return err
	}
	if err != nil || on {
		if err := off(ctx, d, target); err != nil {
			return r.missed(ctx, w, fmt.Errorf("%s could not be fenced: %w", w.peer.Name, err))
		}
	}
	return r.hit(ctx, w, victim)
}

// off switches a machine off, and returns when its driver says that it is.
func off(ctx context.Context, d Driver, target string) error {
	cut := d.Off(ctx, target)
	for {
		on, err := d.Status(ctx, target)
		switch {
		case err == nil && !on:
			return nil
		case cut != nil:
			return cut
		case err != nil && errors.Is(err, fs.ErrInvalid), err != nil && errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("nobody can tell whether it is off: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not say that it is off: %w", errors.Join(ctx.Err(), err))
		case <-time.After(shotPoll):
		}
	}
}

// aim takes the right to switch the other half off. What is off already may be noted as such by anybody.
func (r *Registry) aim(ctx context.Context, w halfIdentity, isOff bool) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		p := pairOf(tx, w.pool.Name)
		if at, off := p.Fenced[w.slot.Name]; off && !w.boot.Started.After(at) {
			return fmt.Errorf("roles: %s was switched off by %s: %w", w.slot.Name, w.peer.Name, fs.ErrPermission)
		}
		if p.Shooter == w.peer.Name && now.Sub(p.ShotAt) < shotRight {
			return fmt.Errorf("roles: %s is switching %s off right now, so that one may not do the same: %w", w.peer.Name, w.slot.Name, fs.ErrPermission)
		}
		peer := r.pairs.half(w.peer.Name, w.peer.Node)
		if p.Outdated == w.slot.Name && !isOff && !peer.at.IsZero() && now.Sub(peer.at) <= halfSilent {
			return fmt.Errorf("roles: the data of %s are not the newest, and %s, which has them, was heard %s ago: it is not switched off: %w",
				w.slot.Name, w.peer.Name, ago(now, peer.at), fs.ErrPermission)
		}
		p.Shooter, p.ShotAt = w.slot.Name, now
		return tx.Pairs().Put(p)
	})
}

// hit notes that the other half is off.
func (r *Registry) hit(ctx context.Context, w halfIdentity, victim Node) error {
	now := r.now()
	why := fmt.Sprintf("switched off by its other half, %s", w.slot.Name)
	err := r.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		if s, _ := tx.Slots().Get(w.peer.Name); s.Node != victim.MAC {
			return fmt.Errorf("%s is another machine now; ask again: %w", w.peer.Name, fs.ErrExist)
		}
		p := pairOf(tx, w.pool.Name)
		p.Fenced = maps.Clone(p.Fenced)
		if p.Fenced == nil {
			p.Fenced = map[string]time.Time{}
		}
		p.Fenced[w.peer.Name] = now
		delete(p.Fenced, w.slot.Name) // who shoots is on
		p.Shooter, p.ShotAt = "", time.Time{}
		if err := tx.Pairs().Put(p); err != nil {
			return err
		}
		n, ok := tx.Nodes().Get(victim.MAC)
		if !ok {
			return nil
		}
		return r.switchedOff(tx, n, now, Event{Time: now, Step: StepFence, Message: why}, why)
	})
	if err != nil {
		return fmt.Errorf("roles: %s is off, and that could not be noted: %w", w.peer.Name, err)
	}
	r.pairs.forget(w.peer.Name)
	r.pairs.hits(w.peer.Name, now)
	r.log().Warn("storage machine fenced", "node", w.peer.Name, "mac", victim.MAC, "by", w.slot.Name)
	return nil
}

// missed notes that the other half could not be switched off, gives the right to it back, and returns the error.
func (r *Registry) missed(ctx context.Context, w halfIdentity, failure error) error {
	r.log().Error("storage machine could not be fenced", "node", w.peer.Name, "by", w.slot.Name, "err", failure)
	told := r.pairs.misses(w.peer.Name, failure.Error(), r.now())
	err := r.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		p := pairOf(tx, w.pool.Name)
		if p.Shooter == w.slot.Name {
			p.Shooter, p.ShotAt = "", time.Time{}
			if err := tx.Pairs().Put(p); err != nil {
				return err
			}
		}
		if told {
			return nil
		}
		return r.tellPair(tx, []pairEvent{{Slot: w.peer.Name, Step: StepFence, Error: failure.Error() + "; without that " + w.slot.Name + " does not take over"}})
	})
	return cmp.Or(failure, err)
}

// misses notes why a half could not be fenced, and reports whether that is known.
func (m *pairMemory) misses(slot, why string, now time.Time) (known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening(now)
	known = m.fencing[slot].why == why
	m.fencing[slot] = fencing{why, now, now}
	return known
}

// hits notes that a half could be fenced.
func (m *pairMemory) hits(slot string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening(now)
	m.fencing[slot] = fencing{at: now}
}
