package roles

import (
	"context"
	"time"
)

// Pass is one look of the reconciler, for tests that move the clock themselves.
func (c *Reconciler) Pass(ctx context.Context, last map[MAC]time.Time) error {
	return c.pass(ctx, last)
}
