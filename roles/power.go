package roles

import (
	"context"
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

// fenceTimeout bounds the wait for a power driver when a slot changes hands: a machine boots meanwhile.
const fenceTimeout = 5 * time.Second

// SwitchPower switches a node and reports whether it is on afterwards. The error wraps fs.ErrInvalid when
// the node has no power driver.
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
	case PowerOn, PowerOff, PowerCycle:
	default:
		return false, fmt.Errorf("roles: power action %q is not known (want on, off, cycle or status): %w", action, fs.ErrInvalid)
	}
	if action != PowerOn {
		if err := d.Off(ctx, target); err != nil {
			return true, fmt.Errorf("roles: switch %s off: %w", key, err)
		}
	}
	if action != PowerOff {
		// Recorded first: the machine's DISCOVER belongs to this boot.
		if err := r.switched(ctx, n.MAC, action); err != nil {
			return false, err
		}
		if err := d.On(ctx, target); err != nil {
			return false, fmt.Errorf("roles: switch %s on: %w", key, err)
		}
		return true, nil
	}
	return false, r.switched(ctx, n.MAC, action)
}

// switched records that an operator switched a node.
func (r *Registry) switched(ctx context.Context, mac MAC, action PowerAction) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		n, ok := tx.Nodes().Get(mac)
		if !ok {
			return fmt.Errorf("roles: node %s: %w", mac, fs.ErrNotExist)
		}
		ev := Event{Time: now, Step: StepPower, Message: "power " + string(action)}
		if action != PowerOff {
			b, err := begin(tx, &n, now)
			if err != nil {
				return err
			}
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
			return advance(tx, n, &b, ev)
		}
		if b, ok := latest(tx, n); ok && b.Ended.IsZero() {
			b.Ended = now
			if err := tx.Boots().Put(b); err != nil {
				return err
			}
		}
		if n.State != StateDraining {
			n.enter(StateOff, "switched off by an operator", now)
		}
		ev.Node, ev.Name = n.MAC, n.Slot
		if _, err := tx.Append(ev); err != nil {
			return err
		}
		return tx.Nodes().Put(n)
	})
}

// driver finds what switches n.
func (r *Registry) driver(n Node) (Driver, string, error) {
	name, target := r.DefaultPower, n.MAC.String()
	if n.Power != nil {
		name = n.Power.Driver
		target = firstOf(n.Power.Target, target)
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

// fence switches off the failed machine whose slot the machine with this MAC is about to take, so that
// two never write one state directory. Where it cannot be switched off, the agent's probe of the address
// is what keeps the two apart.
func (r *Registry) fence(ctx context.Context, mac MAC, facts Facts, now time.Time) {
	var old Node
	_ = r.Store.View(func(tx Tx) error {
		n, _ := tx.Nodes().Get(mac)
		n.MAC, n.Facts = mac, n.Facts.merge(facts)
		if n.Slot != "" && n.State != StateDraining {
			return nil
		}
		if p := Resolve(n, views(tx), now); !p.Takes.IsZero() {
			old, _ = tx.Nodes().Get(p.Takes)
		}
		return nil
	})
	if old.MAC.IsZero() {
		return
	}
	d, target, err := r.driver(old)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	if err := d.Off(ctx, target); err != nil {
		r.log().Warn("failed machine could not be switched off before its slot is taken", "mac", old.MAC, "node", old.Slot, "err", err)
		return
	}
	r.log().Info("failed machine switched off", "mac", old.MAC, "node", old.Slot)
}
