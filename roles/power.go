package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// PowerAction is what an operator asks of a machine's power.
type PowerAction string

// The power actions.
const (
	PowerOn     PowerAction = "on"
	PowerOff    PowerAction = "off"
	PowerCycle  PowerAction = "cycle"
	PowerStatus PowerAction = "status"
)

// SwitchPower switches a node and reports whether it is on afterwards. The error wraps fs.ErrInvalid when
// the node has no power driver. Switching on a machine that is on changes nothing.
func (r *Registry) SwitchPower(ctx context.Context, key string, action PowerAction) (on bool, err error) {
	n, err := r.Node(key)
	if err != nil {
		return false, err
	}
	d, target, err := r.driver(n)
	if err != nil {
		return false, err
	}
	switch action {
	case PowerStatus:
		return d.Status(ctx, target)
	case PowerCycle:
		err := r.cycle(ctx, n, "")
		return err == nil, err
	case PowerOn, PowerOff:
	default:
		return false, fmt.Errorf("roles: power action %q is not known (want on, off, cycle or status): %w", action, fs.ErrInvalid)
	}
	if action == PowerOff {
		if err := d.Off(ctx, target); err != nil {
			return true, fmt.Errorf("roles: switch %s off: %w", key, err)
		}
		return false, r.switched(ctx, n.MAC, action, "")
	}
	// A boot is recorded first: the machine's DISCOVER belongs to it.
	if !r.running(ctx, n, d, target) {
		if err := r.switched(ctx, n.MAC, action, ""); err != nil {
			return false, err
		}
	}
	if err := d.On(ctx, target); err != nil {
		return false, fmt.Errorf("roles: switch %s on: %w", key, err)
	}
	return true, nil
}

// cycle switches n off and on; restart, which may be empty, says why. What is off is switched on again, though
// nobody waits for it any more, or the store takes nothing.
func (r *Registry) cycle(ctx context.Context, n Node, restart string) error {
	who := cmp.Or(n.Slot, n.MAC.String())
	d, target, err := r.driver(n)
	if err != nil {
		return err
	}
	if err := d.Off(ctx, target); err != nil {
		return fmt.Errorf("roles: switch %s off: %w", who, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTimeout)
	defer cancel()
	err = r.switched(ctx, n.MAC, PowerCycle, restart)
	if on := d.On(ctx, target); on != nil {
		err = errors.Join(err, fmt.Errorf("roles: switch %s on: %w", who, on))
	}
	return err
}

// running reports whether n's machine is on already, so that switching it on begins no boot. Where the
// driver cannot tell, the node's state does.
func (r *Registry) running(ctx context.Context, n Node, d Driver, target string) bool {
	if on, err := d.Status(ctx, target); err == nil {
		return on
	}
	switch n.State {
	case StateReady, StateDraining:
		return true
	case StateBooting:
		b, err := r.Boot(n.MAC.String(), 0)
		return err == nil && b.Ended.IsZero() && b.Step != StepPower
	}
	return false
}

// switched records that a node was switched; restart says why it is to restart, where it was not asked before.
func (r *Registry) switched(ctx context.Context, mac MAC, action PowerAction, restart string) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		n, ok := tx.Nodes().Get(mac)
		if !ok {
			return fmt.Errorf("roles: node %s: %w", mac, fs.ErrNotExist)
		}
		ev := Event{Time: now, Step: StepPower, Message: "power " + string(action)}
		if action != PowerOff {
			n.Restart = cmp.Or(n.Restart, restart)
			b, err := begin(tx, &n, now)
			if err != nil {
				return err
			}
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
			return advance(tx, n, &b, ev)
		}
		if err := unfence(tx, n); err != nil {
			return err
		}
		return r.switchedOff(tx, n, now, ev, "switched off by an operator")
	})
}

// switchedOff records that n is off since now, with ev, and why.
func (r *Registry) switchedOff(tx Tx, n Node, now time.Time, ev Event, why string) error {
	if b, ok := latest(tx, n); ok && b.Ended.IsZero() {
		b.Ended = now
		if err := tx.Boots().Put(b); err != nil {
			return err
		}
	}
	ev.Node, ev.Name = n.MAC, n.Slot
	if _, err := tx.Append(ev); err != nil {
		return err
	}
	if n.State == StateDraining {
		// It no longer runs as what it was: nothing to wait for.
		var err error
		if n, err = r.moveLater(tx, n, now); err != nil {
			return err
		}
	}
	n.Restart = ""
	n.enter(StateOff, why, now)
	return tx.Nodes().Put(n)
}

// driver finds what switches n.
func (r *Registry) driver(n Node) (Driver, string, error) {
	name, target := r.DefaultPower, n.MAC.String()
	if n.Power != nil {
		name = n.Power.Driver
		target = cmp.Or(n.Power.Target, target)
	}
	if name == "" {
		return nil, "", fmt.Errorf("roles: node %s has no power driver; declare one: power: {driver: …}: %w", n.MAC, fs.ErrInvalid)
	}
	d, ok := r.Power[name]
	if !ok {
		return nil, "", fmt.Errorf("roles: node %s: power driver %q is not configured: %w", n.MAC, name, fs.ErrInvalid)
	}
	return d, target, nil
}
