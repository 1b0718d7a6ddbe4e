package roles

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// PoolStatus is a pool with its slots and how many of them do what.
type PoolStatus struct {
	Pool
	Slots []SlotStatus `json:"slots"`
	// Ready, Booting and Failed count occupants in these states; Free counts empty slots; Missing is how
	// many nodes the pool is below its minimum.
	Ready   int `json:"ready"`
	Booting int `json:"booting"`
	Failed  int `json:"failed"`
	Free    int `json:"free"`
	Missing int `json:"missing"`
}

// SlotStatus is a slot with its occupant's state; "" for an empty one.
type SlotStatus struct {
	Slot
	State State `json:"state,omitempty"`
}

// Pools gives every pool, by name.
func (r *Registry) Pools() (out []PoolStatus, err error) {
	err = r.Store.View(func(tx Tx) error {
		for _, v := range views(tx) {
			out = append(out, v.status())
		}
		return nil
	})
	return out, err
}

// Pool gives one pool.
func (r *Registry) Pool(name string) (PoolStatus, error) {
	all, err := r.Pools()
	if err != nil {
		return PoolStatus{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return PoolStatus{}, fmt.Errorf("pool %q does not exist: %w", name, fs.ErrNotExist)
}

func (p PoolView) status() PoolStatus {
	out := PoolStatus{Pool: p.Pool, Missing: p.missing()}
	for _, s := range p.Slots {
		ss := SlotStatus{Slot: s.Slot}
		if s.Occupant == nil {
			out.Free++
		} else {
			ss.State = s.Occupant.State
		}
		switch ss.State {
		case StateReady:
			out.Ready++
		case StateBooting:
			out.Booting++
		case StateFailed:
			out.Failed++
		}
		out.Slots = append(out.Slots, ss)
	}
	return out
}

// EffectiveRoles gives every role as it works: the library's with what is declared over it.
func (r *Registry) EffectiveRoles() (out []Role, err error) {
	err = r.Store.View(func(tx Tx) error {
		all := maps.Clone(r.Library)
		if all == nil {
			all = map[string]Role{}
		}
		for role := range tx.Roles().All() {
			all[role.Name] = role.Over(all[role.Name])
		}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			out = append(out, all[name])
		}
		return nil
	})
	return out, err
}

// EffectiveRole gives one role as it works.
func (r *Registry) EffectiveRole(name string) (role Role, err error) {
	err = r.Store.View(func(tx Tx) error { role, err = r.effective(tx, name); return err })
	return role, err
}

func (r *Registry) effective(tx Tx, name string) (Role, error) {
	base, inLibrary := r.Library[name]
	role, declared := tx.Roles().Get(name)
	if !inLibrary && !declared {
		return Role{}, fmt.Errorf("role %q is neither declared nor in the library: %w", name, fs.ErrNotExist)
	}
	return role.Over(base), nil
}
