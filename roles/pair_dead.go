package roles

import (
	"context"
	"time"
)

// Bounds of how long the power of a storage machine that was switched on may say that it is off. One that is on and
// says nothing has Reconciler.Silence: big servers take minutes to test their memory.
const (
	// deadEvery is the pause between two looks.
	deadEvery = 15 * time.Second
	// deadGrace is how long a power supply may take to say that it is on.
	deadGrace = 20 * time.Second
)

// findDead notes when the machine in a slot was switched on and is off. Until then no other one could take its place.
func (r *Registry) findDead(ctx context.Context, s pairSide) {
	n, ok := r.peek(s.Node)
	if !ok {
		return
	}
	b, err := r.Boot(n.MAC.String(), 0)
	if err != nil || n.State != StateBooting || b.Step != StepPower || r.now().Sub(b.Started) < deadGrace {
		return
	}
	d, target, err := r.driver(n)
	if err != nil {
		return
	}
	tctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if on, err := d.Status(tctx, target); err == nil && !on {
		r.notOn(ctx, s, "was switched on, and is off: look at it, or switch another one on in its place")
	}
}
