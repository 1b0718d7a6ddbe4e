package roles

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"muster/images"
)

// rollouts takes every rollout that goes on one step further. It reports whether there is any.
func (c *Reconciler) rollouts(ctx context.Context) (active bool, err error) {
	r := c.Registry
	var due []string
	err = r.Store.View(func(tx Tx) error {
		active = false
		for ro := range tx.Rollouts().All() {
			p, ok := tx.Pools().Get(ro.Pool)
			switch {
			case !ok:
				due = append(due, ro.Pool)
			case ro.active():
				active = true
				if pl := r.plan(tx, p, ro, c.began); pl.changes(ro) {
					due = append(due, ro.Pool)
				}
			}
		}
		return nil
	})
	for _, pool := range due {
		if err == nil {
			err = r.Store.Update(ctx, func(tx Tx) error { return r.stepRollout(tx, pool, c.began) })
		}
	}
	return active, err
}

// stepRollout takes one rollout a step further; that of a pool which is gone is forgotten.
func (r *Registry) stepRollout(tx Tx, pool string, watched time.Time) error {
	ro, ok := tx.Rollouts().Get(pool)
	p, exists := tx.Pools().Get(pool)
	switch {
	case !exists:
		return tx.Rollouts().Delete(pool)
	case !ok || !ro.active():
		return nil
	}
	pl := r.plan(tx, p, ro, watched)
	if !pl.changes(ro) {
		return nil
	}
	if pl.ro.State != ro.State {
		r.log().Info("rollout is "+string(pl.ro.State), "pool", pool, "from", ro.From, "image", ro.Image, "why", pl.ro.Why)
	}
	return r.carryOut(tx, pl)
}

func (r *Registry) plan(tx Tx, p Pool, ro Rollout, watched time.Time) planner {
	v := r.rolloutView(tx, p, watched)
	target := ro.From
	if ro.State == RolloutRunning {
		target = ro.Image
	}
	if p.Image == target.String() {
		ro.Pin = p.Image // the operator pinned what is under way anyway
	}
	if p.Image != ro.Pin {
		v.Superseded = fmt.Sprintf("the pool's image was changed to %s while the rollout went on: nodes boot that next time", pinned(p))
	}
	now := r.now()
	pl := planner{v: v, now: now}
	pl.ro, pl.acts = planRollout(v, ro, now)
	return pl
}

func (pl planner) changes(ro Rollout) bool { return len(pl.acts) > 0 || !reflect.DeepEqual(pl.ro, ro) }

// carryOut stores a rollout as it was planned, and does what was planned.
func (r *Registry) carryOut(tx Tx, pl planner) error {
	for _, act := range pl.acts {
		s, _ := tx.Slots().Get(act.Slot)
		n, ok := tx.Nodes().Get(s.Node)
		if !ok {
			continue
		}
		var err error
		if act.Cancel {
			err = unwantRestart(tx, n, pl.now)
		} else {
			_, err = wantRestart(tx, n, pl.ro.reason(), pl.now)
		}
		if err != nil {
			return err
		}
	}
	if err := r.pin(tx, pl.ro); err != nil {
		return err
	}
	return tx.Rollouts().Put(pl.ro)
}

// reason is why a node of the rollout restarts now.
func (ro Rollout) reason() string {
	if ro.State == RolloutRunning {
		return fmt.Sprintf("rollout %s → %s", ro.From, ro.Image)
	}
	return fmt.Sprintf("rollback %s → %s", ro.Image, ro.From)
}

// pin makes what a rollout came to the image of its pool, unless an operator changed that meanwhile.
func (r *Registry) pin(tx Tx, ro Rollout) error {
	p, ok := tx.Pools().Get(ro.Pool)
	if !ok || ro.active() || p.Image != ro.Pin {
		return nil
	}
	want := ro.From
	if ro.State == RolloutDone {
		want = ro.Image
		if unpinned(p) {
			if _, img, err := r.pinOf(tx, p); err == nil && img.Ref == want {
				return nil // it follows what is current, and that is it
			}
		}
	}
	p.Image = want.String()
	return tx.Pools().Put(p)
}

// unpinned reports whether the pool follows the current version of an image.
func unpinned(p Pool) bool {
	ref, err := images.ParseRef(p.Image)
	return p.Image == "" || err == nil && ref.Version == 0
}

// pinned is the pool's image in words.
func pinned(p Pool) string {
	if p.Image == "" {
		return "the current version"
	}
	return p.Image
}
