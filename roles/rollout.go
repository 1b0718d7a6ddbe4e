package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"time"

	"muster/images"
)

// RolloutState says how far a rollout is, in one word.
type RolloutState string

// The states of a rollout.
const (
	RolloutRunning     RolloutState = "running"
	RolloutDone        RolloutState = "done"
	RolloutRollingBack RolloutState = "rolling-back" // a node failed, or an operator stopped it
	RolloutRolledBack  RolloutState = "rolled-back"
	RolloutFailed      RolloutState = "failed" // it could not even roll back; Why says what to do
)

// Rollout takes a pool from one image version to another, node by node. A pool's latest one is kept.
type Rollout struct {
	// Pool is the key.
	Pool string `json:"pool"`
	// From is what the pool ran, Image what it is to run; both name a version.
	From  images.Ref `json:"from"`
	Image images.Ref `json:"image"`
	// Back says that it takes back the rollout before it.
	Back bool `json:"back,omitempty"`
	// Pin is what the pool's image was pinned to before; "" for nothing.
	Pin string `json:"pin,omitempty"`
	// Canary is how many nodes go first and must be ready before any other; Batch how many restart at the
	// same time after that.
	Canary int `json:"canary"`
	Batch  int `json:"batch"`
	// Timeout is how long one node may take until it is ready.
	Timeout Duration     `json:"timeout"`
	State   RolloutState `json:"state"`
	// Why says what it waits for, or why it failed.
	Why     string        `json:"why,omitempty"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended,omitzero"`
	Slots   []RolloutSlot `json:"slots"`

	// Cause is why it goes back, which Why begins with; empty while it does not.
	Cause string `json:"-"`
	// Ailing are the slots whose nodes had failed before they were restarted: that one of them fails again
	// is not the image's fault.
	Ailing []string `json:"-"`
}

// RolloutSlot is one node's part in a rollout.
type RolloutSlot struct {
	Name string `json:"name"`
	// State is pending, restarting, done, failed, or back for one that runs From again.
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// RolloutOptions are what an operator says of a rollout.
type RolloutOptions struct {
	// Image is the version to roll out; version 0 means the current one, no name the role's image.
	Image images.Ref
	// Canary and Batch; zero means 1. Timeout; zero means 10 min.
	Canary, Batch int
	Timeout       Duration

	back bool // Rollout.Back
}

// DefaultRolloutTimeout is how long one node of a rollout may take: a big server tests its memory for some
// minutes before it boots.
const DefaultRolloutTimeout = 10 * time.Minute

// active reports whether the rollout goes on.
func (ro Rollout) active() bool { return ro.State == RolloutRunning || ro.State == RolloutRollingBack }

// boots is the image that a slot's occupant boots while the rollout goes on, whoever it is and why ever it
// boots.
func (ro Rollout) boots(slot string) images.Ref {
	if ro.State == RolloutRunning {
		for _, s := range ro.Slots {
			if s.Name == slot && (s.State == slotRestarting || s.State == slotDone) {
				return ro.Image
			}
		}
	}
	return ro.From
}

// StartRollout begins to take a pool to another image version. The pool never gets below its minimum of ready
// nodes by it; a node that does not become ready in time ends it, and what was restarted goes back. The error
// wraps fs.ErrExist while another rollout of the pool goes on, fs.ErrInvalid where nothing would change or
// nothing could ever be restarted.
func (r *Registry) StartRollout(ctx context.Context, pool string, o RolloutOptions) (out Rollout, err error) {
	if o.Canary < 0 || o.Batch < 0 || o.Timeout < 0 {
		return out, fmt.Errorf("rollout of pool %s: canary, batch and timeout cannot be negative: %w", pool, fs.ErrInvalid)
	}
	err = r.Store.Update(ctx, func(tx Tx) error { out, err = r.start(tx, pool, o); return err })
	if err != nil {
		return Rollout{}, err
	}
	r.log().Info("rollout starts", "pool", pool, "from", out.From, "image", out.Image, "canary", out.Canary, "batch", out.Batch)
	return out, nil
}

// start puts a rollout that begins now. It restarts nothing yet: the reconciler does.
func (r *Registry) start(tx Tx, pool string, o RolloutOptions) (Rollout, error) {
	p, ok := tx.Pools().Get(pool)
	if !ok {
		return Rollout{}, fmt.Errorf("pool %q does not exist (there are: %s): %w", pool, names(tx), fs.ErrNotExist)
	}
	if last, ok := tx.Rollouts().Get(pool); ok && last.active() {
		return last, fmt.Errorf("the rollout of pool %s from %s to %s is %s; wait for its end, or stop it: %w",
			pool, last.From, last.Image, last.State, fs.ErrExist)
	}
	role, img, pinErr := r.workOf(tx, pool)
	if role.Name == "" {
		return Rollout{}, pinErr
	}
	if o.Image.Name == "" {
		o.Image.Name = role.ImageName()
	}
	target, err := r.Images.Find(o.Image)
	if err != nil {
		return Rollout{}, err
	}
	now := r.now()
	v := r.rolloutView(tx, p, time.Time{})
	if pinErr == nil && img.Ref == target.Ref && !v.differs(target.Ref) {
		return Rollout{}, fmt.Errorf("pool %s runs %s already: nothing would change: %w", pool, target.Ref, fs.ErrInvalid)
	}
	ro := Rollout{
		Pool: pool, From: cmp.Or(v.mostRun(target.Ref), img.Ref, target.Ref), Image: target.Ref, Back: o.back, Pin: p.Image,
		Canary: cmp.Or(o.Canary, 1), Batch: cmp.Or(o.Batch, 1), Timeout: cmp.Or(o.Timeout, Duration(DefaultRolloutTimeout)),
		State: RolloutRunning, Started: now,
	}
	if err := v.possible(ro); err != nil {
		return Rollout{}, err
	}
	pl := planner{v: v, ro: ro, now: now}
	pl.join()
	return pl.ro, tx.Rollouts().Put(pl.ro)
}

// StopRollout ends a rollout that is running: what was restarted goes back. One that goes back already is given
// up: every node stays as it is. The error wraps fs.ErrInvalid where none goes on.
func (r *Registry) StopRollout(ctx context.Context, pool string) (out Rollout, err error) {
	err = r.Store.Update(ctx, func(tx Tx) error {
		ro, err := rolloutOf(tx, pool)
		if err != nil {
			return err
		}
		if !ro.active() {
			return fmt.Errorf("the rollout of pool %s to %s is %s: there is nothing to stop: %w", pool, ro.Image, ro.State, fs.ErrInvalid)
		}
		p, _ := tx.Pools().Get(pool)
		now := r.now()
		pl := planner{v: r.rolloutView(tx, p, now), ro: ro, now: now}
		pl.join()
		if ro.State == RolloutRunning {
			pl.goBack("stopped by an operator")
		} else {
			pl.giveUp("an operator stopped that too: every node stays as it is")
		}
		out = pl.ro
		return r.carryOut(tx, pl)
	})
	return out, err
}

// RollbackPool takes a pool back, node by node, to the image that it ran before its last rollout. A rollout that
// is still running is stopped, which does the same. What was taken back stays back: the error wraps fs.ErrInvalid
// when it is asked for twice. A way back that failed is tried again.
func (r *Registry) RollbackPool(ctx context.Context, pool string) (Rollout, error) {
	last, err := r.Rollout(pool)
	switch {
	case err != nil:
		return last, err
	case last.State == RolloutRunning:
		return r.StopRollout(ctx, pool)
	case last.Back && last.State == RolloutDone:
		return last, fmt.Errorf("pool %s went back from %s to %s already; to go forward again: muster pool rollout %[1]s --image %[2]s: %[4]w",
			pool, last.From, last.Image, fs.ErrInvalid)
	}
	to := last.From
	if last.Back {
		to = last.Image
	}
	// It was proven: no canary.
	batch := max(last.Batch, 1)
	return r.StartRollout(ctx, pool, RolloutOptions{Image: to, Canary: batch, Batch: batch, Timeout: last.Timeout, back: true})
}

// Rollout gives a pool's latest rollout. The error wraps fs.ErrNotExist where there was none.
func (r *Registry) Rollout(pool string) (ro Rollout, err error) {
	err = r.Store.View(func(tx Tx) error { ro, err = rolloutOf(tx, pool); return err })
	return ro, err
}

func rolloutOf(tx Tx, pool string) (Rollout, error) {
	if _, ok := tx.Pools().Get(pool); !ok {
		return Rollout{}, fmt.Errorf("pool %q does not exist (there are: %s): %w", pool, names(tx), fs.ErrNotExist)
	}
	ro, ok := tx.Rollouts().Get(pool)
	if !ok {
		return ro, fmt.Errorf("pool %s had no rollout: %w", pool, fs.ErrNotExist)
	}
	return ro, nil
}
