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

// fixed is what the script says; nil where pairs are those of the registry, whose clock takes the same lock.
func (p pairs) fixed() *roles.PairView {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.paired
}

func (p pairs) Pairs() ([]roles.PairView, error) {
	v := p.fixed()
	if v == nil {
		return p.Registry.Pairs()
	}
	return []roles.PairView{*v}, nil
}

func (p pairs) Pair(pool string) (roles.PairView, error) {
	if p.fixed() == nil {
		return p.Registry.Pair(pool)
	}
	return p.note(pool, func(*roles.PairView) {})
}

// note changes the pair of a pool.
func (p pairs) note(pool string, change func(*roles.PairView)) (roles.PairView, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.paired.Pool != pool {
		return roles.PairView{}, fmt.Errorf("roles: %s is no storage pair: %w", pool, fs.ErrNotExist)
	}
	v := *p.w.paired
	change(&v)
	p.w.paired = &v
	return v, nil
}

func (p pairs) ClaimDisk(ctx context.Context, slot, disk string) (roles.PairView, error) {
	if p.fixed() == nil {
		return p.Registry.ClaimDisk(ctx, slot, disk)
	}
	return p.note("storage", func(v *roles.PairView) { v.Claims = map[string]string{slot: disk} })
}

// PromoteHalf cannot switch a machine off whose fencing fails.
func (p pairs) PromoteHalf(ctx context.Context, slot string, off bool) (roles.PairView, error) {
	v := p.fixed()
	if v == nil {
		return p.Registry.PromoteHalf(ctx, slot, off)
	}
	if o := other(*v, slot); o.Fencing != "" && !off {
		return *v, fmt.Errorf("roles: %s cannot be switched off: %s: %w", o.Slot, o.Fencing, fs.ErrInvalid)
	}
	return p.note("storage", func(v *roles.PairView) { v.Promoted, v.PromotedAt = slot, p.w.at })
}

func (p pairs) KeepHalf(ctx context.Context, slot string) (roles.PairView, error) {
	if p.fixed() == nil {
		return p.Registry.KeepHalf(ctx, slot)
	}
	return p.note("storage", func(v *roles.PairView) { v.Keep = slot })
}

func (p pairs) MaintainHalf(ctx context.Context, slot string, on bool) (roles.PairView, error) {
	if p.fixed() == nil {
		return p.Registry.MaintainHalf(ctx, slot, on)
	}
	return p.note("storage", func(v *roles.PairView) {
		v.Standby = slices.DeleteFunc(slices.Clone(v.Standby), func(s string) bool { return s == slot })
		if on {
			v.Standby = append(v.Standby, slot)
		}
	})
}

func (p pairs) VerifyPair(ctx context.Context, pool string) (roles.PairView, error) {
	if p.fixed() == nil {
		return p.Registry.VerifyPair(ctx, pool)
	}
	return p.note(pool, func(v *roles.PairView) { v.Verify = p.w.at })
}

// half has the agent of a storage machine report the JSON of a roles.Half.
func (w *world) half(mac, text string) error {
	var h roles.Half
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return err
	}
	m, err := roles.ParseMAC(mac)
	if err == nil {
		_, err = w.reg.PairReport(context.Background(), m, claimKey, h)
	}
	return err
}

// made has a storage machine report that the file system of the new pair is there.
func (w *world) made(mac string) error {
	m, err := roles.ParseMAC(mac)
	if err != nil {
		return err
	}
	return w.reg.PairMade(context.Background(), m, claimKey)
}
