package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"muster/roles"
)

// pairs is a rack whose storage pairs are what a script says, and on which decisions are noted at once. Without such
// they are those of the registry.
type pairs struct {
	*roles.Registry
	w *world
}

// pair makes the JSON of a roles.PairView the one storage pair.
func (w *world) pair(text string) error {
	var v roles.PairView
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paired = &v
	return nil
}

func (p pairs) Pairs() ([]roles.PairView, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.paired == nil {
		return p.Registry.Pairs()
	}
	return []roles.PairView{*p.w.paired}, nil
}

func (p pairs) Pair(pool string) (roles.PairView, error) {
	return p.note(pool, func(*roles.PairView) {})
}

// note changes the pair of a pool.
func (p pairs) note(pool string, change func(*roles.PairView)) (roles.PairView, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.paired == nil || p.w.paired.Pool != pool {
		return roles.PairView{}, fmt.Errorf("roles: %s is no storage pair: %w", pool, fs.ErrNotExist)
	}
	v := *p.w.paired
	change(&v)
	p.w.paired = &v
	return v, nil
}

func (p pairs) ClaimDisk(_ context.Context, slot, disk string) (roles.PairView, error) {
	return p.note("storage", func(v *roles.PairView) { v.Claims = map[string]string{slot: disk} })
}

// PromoteHalf cannot switch a machine off whose fencing fails.
func (p pairs) PromoteHalf(_ context.Context, slot string, off bool) (roles.PairView, error) {
	v, err := p.Pair("storage")
	if err != nil {
		return v, err
	}
	if o := other(v, slot); o.Fencing != "" && !off {
		return v, fmt.Errorf("roles: %s cannot be switched off: %s: %w", o.Slot, o.Fencing, fs.ErrInvalid)
	}
	return p.note("storage", func(v *roles.PairView) { v.Promoted, v.PromotedAt = slot, p.w.at })
}

func (p pairs) KeepHalf(_ context.Context, slot string) (roles.PairView, error) {
	return p.note("storage", func(v *roles.PairView) { v.Keep = slot })
}

func (p pairs) MaintainHalf(_ context.Context, slot string, on bool) (roles.PairView, error) {
	return p.note("storage", func(v *roles.PairView) {
		v.Standby = slices.DeleteFunc(slices.Clone(v.Standby), func(s string) bool { return s == slot })
		if on {
			v.Standby = append(v.Standby, slot)
		}
	})
}

func (p pairs) VerifyPair(_ context.Context, pool string) (roles.PairView, error) {
	return p.note(pool, func(v *roles.PairView) { v.Verify = p.w.at })
}
