package roles

import (
	"context"
	"slices"
	"sync"
)

// Recorder takes sightings from the boot services without holding them up, and writes them in batches: a
// thousand machines that ask at once cost a few commits, not thousands.
type Recorder struct {
	// Registry gets the sightings. Required.
	Registry *Registry
	// Limit bounds the queue; more are dropped and counted. Zero means 65,536: a rack of 1,000 machines
	// makes some 6 sightings each.
	Limit int

	mu      sync.Mutex // guards what follows
	queue   []Sighting
	dropped uint64
	wake    chan struct{}   // a token: the queue is not empty
	waiting []chan struct{} // closed when what was queued before is written
}

// batchSize bounds one transaction: between two, operators and agents have their turn.
const batchSize = 1000

// Seen queues a sighting. It never blocks.
func (c *Recorder) Seen(s Sighting) {
	limit := c.Limit
	if limit == 0 {
		limit = 1 << 16
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) >= limit {
		c.dropped++
		return
	}
	c.queue = append(c.queue, s)
	c.poke()
}

// Dropped is how many sightings found the queue full.
func (c *Recorder) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Flush waits until everything that was queued before is written, or ctx ends.
func (c *Recorder) Flush(ctx context.Context) error {
	done := make(chan struct{})
	c.mu.Lock()
	c.waiting = append(c.waiting, done)
	c.poke()
	c.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poke wakes Run. The caller holds mu.
func (c *Recorder) poke() {
	select {
	case c.signal() <- struct{}{}:
	default:
	}
}

// signal makes the wake channel on first use. The caller holds mu.
func (c *Recorder) signal() chan struct{} {
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
	}
	return c.wake
}

// Run writes what is queued until ctx ends, and then what is left.
func (c *Recorder) Run(ctx context.Context) error {
	write := func() { c.write(context.WithoutCancel(ctx)) } // what was taken from the queue is nowhere else
	c.mu.Lock()
	wake := c.signal()
	c.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			write()
			return nil
		case <-wake:
			write()
		}
	}
}

func (c *Recorder) write(ctx context.Context) {
	c.mu.Lock()
	batch, waiting := c.queue, c.waiting
	c.queue, c.waiting = nil, nil
	c.mu.Unlock()
	for part := range slices.Chunk(batch, batchSize) {
		if err := c.Registry.Observe(ctx, part); err != nil {
			c.Registry.log().Error("sightings not recorded", "count", len(part), "err", err)
		}
	}
	for _, w := range waiting {
		close(w)
	}
}
