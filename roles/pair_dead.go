package roles

import (
	"context"
	"fmt"
	"time"
)

// Bounds of how long a storage machine that was switched on may say nothing. Other machines have Reconciler.Silence:
// nothing waits for them.
const (
	// deadEvery is the pause between two looks.
	deadEvery = 15 * time.Second
	// deadGrace is how long a power supply may take to say that it is on.
	deadGrace = 20 * time.Second
	// muteTime is how long firmware may take to ask for an address.
	muteTime = 4 * time.Minute
)

// findDead notes when the machine in a slot was switched on and does not boot: its power is off again, or nothing is
// heard of it. Until then no other one could take its place.
func (r *Registry) findDead(ctx context.Context, s pairSide) {
	n, ok := r.peek(s.Node)
	if !ok {
		return
	}
	b, err := r.Boot(n.MAC.String(), 0)
	took := r.now().Sub(b.Started)
	if err != nil || n.State != StateBooting || b.Step != StepPower || took < deadGrace {
		return
	}
	d, target, err := r.driver(n)
	if err != nil {
		return
	}
	tctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	on, err := d.Status(tctx, target)
	switch {
	case err == nil && !on:
		r.notOn(ctx, s, "was switched on, and is off: look at it, or switch another one on in its place")
	case took > muteTime:
		r.notOn(ctx, s, fmt.Sprintf("was switched on %s ago, and has not asked for an address: look at its console, or switch another one on in its place",
			Duration(took.Round(time.Minute))))
	}
}
