package roles

import (
	"context"
	"time"
)

// Pass is one look of the reconciler, for tests that move the clock themselves.
func (c *Reconciler) Pass(ctx context.Context, last map[MAC]time.Time) error {
	_, err := c.pass(ctx, last)
	c.cuts.Wait()
	c.pairs.Wait()
	return err
}

// Look is the part of a Pass that looks at the nodes, Step the one that takes rollouts on.
func (c *Reconciler) Look(ctx context.Context, last map[MAC]time.Time) error {
	err := c.look(ctx, last)
	c.cuts.Wait()
	c.pairs.Wait()
	return err
}

// Step: see Look.
func (c *Reconciler) Step(ctx context.Context) error {
	_, err := c.rollouts(ctx)
	return err
}

// Watching lets the reconciler have been at work since then, as Run does.
func (c *Reconciler) Watching(since time.Time) { c.began = since }

// NoteAgent lets the agent of mac's running system speak.
func (r *Registry) NoteAgent(mac MAC, at time.Time) { r.noteAgent(mac, at) }
