package agent

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the time between two tries: it doubles from min to max, with a spread of a fifth, so that a
// rack that lost its server does not come back in step.
type backoff struct {
	min, max time.Duration
	next     time.Duration
}

// step returns the next pause.
func (b *backoff) step() time.Duration {
	b.next = min(max(2*b.next, b.min), b.max)
	spread := b.next / 5
	return b.next - spread/2 + rand.N(spread+1)
}

func (b *backoff) reset() { b.next = 0 }

// sleep waits d; it returns ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
