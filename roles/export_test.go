package roles

import (
	"context"
	"time"
)

// Pass is one look of the reconciler, for tests that move the clock themselves.
func (c *Reconciler) Pass(ctx context.Context, last map[MAC]time.Time) error {
	_, err := c.pass(ctx, last)
	c.cuts.Wait()
	return err
}
