package agent

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"
)

// queueSize bounds the events that wait for a server. When it is full the oldest goes: what happened last
// says more about a machine that hangs.
const queueSize = 300

// reporter brings this boot's events to the server, in order, each until a server took it.
type reporter struct {
	client *client
	params Params
	// say shows that events wait.
	say func(format string, args ...any)
	// uptime is the time since the kernel started.
	uptime func() time.Duration

	mu sync.Mutex
	// queue holds what no server took yet; seq is the last event's number. Both guarded by mu.
	queue []Event
	seq   int
	// changed is closed, and replaced, whenever the queue changes. Guarded by mu.
	changed chan struct{}
}

func newReporter(c *client, p Params, say func(string, ...any), uptime func() time.Duration) *reporter {
	return &reporter{client: c, params: p, say: say, uptime: uptime, changed: make(chan struct{})}
}

// add queues an event and returns at once.
func (r *reporter) add(step, message string, err error) {
	ev := Event{Uptime: r.uptime(), Step: step, Message: message}
	if err != nil {
		ev.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	ev.Seq = r.seq
	if len(r.queue) == queueSize {
		r.queue = r.queue[1:]
	}
	r.queue = append(r.queue, ev)
	r.notify()
}

// notify wakes who waits for a change. r.mu is held.
func (r *reporter) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// pending gives a copy of the queue and the channel that closes when it changes.
func (r *reporter) pending() ([]Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Event(nil), r.queue...), r.changed
}

// taken drops what has been delivered: everything up to seq.
func (r *reporter) taken(seq int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 && r.queue[0].Seq <= seq {
		r.queue = r.queue[1:]
	}
	r.notify()
}

// run delivers until ctx ends.
func (r *reporter) run(ctx context.Context) {
	b := backoff{min: 500 * time.Millisecond, max: 15 * time.Second}
	for ctx.Err() == nil {
		events, changed := r.pending()
		if len(events) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		last := events[len(events)-1].Seq
		err := r.client.call(ctx, callTimeout, PathEvents,
			Report{MAC: r.params.MAC, Token: r.params.Token, Events: events}, nil)
		switch {
		case err == nil:
			b.reset()
			r.taken(last)
		case errors.Is(err, fs.ErrInvalid):
			// The server will never take these; the next ones must not wait behind them.
			r.say("%d events dropped: %v", len(events), err)
			r.taken(last)
		default:
			if ctx.Err() == nil {
				r.say("%d events wait for a server: %v", len(events), err)
			}
			sleep(ctx, b.step())
		}
	}
}

// flush waits until everything is delivered, for d at most, and reports whether it was.
func (r *reporter) flush(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		events, changed := r.pending()
		if len(events) == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}
