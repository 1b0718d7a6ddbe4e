package roles_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"muster/roles"
)

func seen(i int) roles.Sighting {
	return roles.Sighting{MAC: mac(i), Time: noon, Step: roles.StepDiscover, Boots: true, Facts: facts}
}

// record runs a recorder until the test ends, or stop is called.
func record(t *testing.T, c *roles.Recorder) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }() // ends with ctx
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestRecorderWritesInBatches(t *testing.T) {
	r := newRack(t)
	c := &roles.Recorder{Registry: r.Registry}
	before := r.Revision()
	for i := range 1500 {
		c.Seen(seen(i + 1))
		c.Seen(roles.Sighting{Time: noon, Step: roles.StepDiscover, Boots: true}) // garbage: no MAC
	}
	record(t, c)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := r.Nodes()
	if err != nil || len(nodes) != 1500 || c.Dropped() != 0 {
		t.Errorf("%d nodes of 1500, %d dropped, %v", len(nodes), c.Dropped(), err)
	}
	if commits := r.Revision() - before; commits > 4 {
		t.Errorf("%d commits for what waited in one queue of 3000", commits)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Errorf("flush of nothing: %v", err)
	}
}

func TestRecorderIsBounded(t *testing.T) {
	r := newRack(t)
	c := &roles.Recorder{Registry: r.Registry, Limit: 3}
	for i := range 5 {
		c.Seen(seen(i + 1))
	}
	if c.Dropped() != 2 {
		t.Errorf("%d dropped, want 2", c.Dropped())
	}
	record(t, c)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Seen(seen(9)) // there is room again
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if nodes, _ := r.Nodes(); len(nodes) != 4 {
		t.Errorf("%d nodes, want 4", len(nodes))
	}
}

func TestRecorderStops(t *testing.T) {
	r := newRack(t)
	c := &roles.Recorder{Registry: r.Registry}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush that nobody answers: %v", err)
	}
	for i := range 7 {
		c.Seen(seen(i + 1))
	}
	if err := c.Run(ctx); err != nil { // was asked to stop before it began
		t.Errorf("Run: %v", err)
	}
	if nodes, _ := r.Nodes(); len(nodes) != 7 {
		t.Errorf("%d nodes of 7 that were queued when the server stopped", len(nodes))
	}
}

// Flush waits for what was queued before it, also when many speak at once.
func TestRecorderFlushIsABarrier(t *testing.T) {
	r := newRack(t)
	c := &roles.Recorder{Registry: r.Registry}
	record(t, c)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c.Seen(seen(i + 1))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := c.Flush(ctx); err != nil {
				t.Error(err)
			}
			if _, err := r.Node(mac(i + 1).String()); err != nil {
				t.Errorf("after its flush: %v", err)
			}
		})
	}
	wg.Wait()
}
