package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"time"
)

// Reported is one event as an agent tells it.
type Reported struct {
	// Seq counts the boot's events from 1.
	Seq int
	// Uptime is the time since the node's kernel started.
	Uptime         time.Duration
	Step           Step
	Message, Error string
}

// check refuses what an agent cannot know: the steps that a server notes. A step of a newer agent is one
// more line in the timeline.
func (ev Reported) check() error {
	const longest = 32 // bytes of a word
	switch {
	case ev.Step == "" || len(ev.Step) > longest,
		ev.Step == StepHealth || ev.Step == StepOperator || ev.Step == StepStorage || ev.Step == StepFence,
		order(ev.Step) >= 0 && order(ev.Step) < order(StepHello),
		ev.Step == StepSpec || order(ev.Step) > order(StepSwitchRoot):
		return fmt.Errorf("roles: step %.40q is not a machine's to report: %w", string(ev.Step), fs.ErrInvalid)
	}
	return nil
}

// Report takes an agent's events. Those taken before are dropped: the agent repeats itself until it hears
// that the server has them. The error wraps fs.ErrInvalid for a step that no agent can report.
func (r *Registry) Report(ctx context.Context, mac MAC, token string, events []Reported) error {
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		n, b, err := authentic(tx, mac, token)
		if err != nil {
			return err
		}
		n.LastSeen = now
		for _, ev := range events {
			if err := ev.check(); err != nil {
				return err
			}
			if ev.Seq <= b.Taken {
				continue
			}
			b.Taken = ev.Seq
			if err := r.reported(tx, &n, &b, Event{Time: b.when(ev.Uptime, now), Step: ev.Step, Message: ev.Message, Error: ev.Error}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *Registry) reported(tx Tx, n *Node, b *Boot, ev Event) error {
	// What happened before the boot's end, and is told after it, belongs to the timeline alone.
	if b.Ended.IsZero() || ev.Time.After(b.Ended) {
		b.revive(n, ev.Time)
		switch ev.Step {
		case StepFail:
			b.Ended = ev.Time
			n.outcome(StateFailed, cmp.Or(ev.Error, ev.Message), ev.Time)
		case StepReboot:
			b.Ended = ev.Time
			n.outcome(StateBooting, ev.Message, ev.Time)
		}
	}
	if err := tx.Nodes().Put(*n); err != nil {
		return err
	}
	return advance(tx, *n, b, ev)
}

// outcome is enter for what became of a boot. A node that waits, or leaves its slot, goes on doing that.
func (n *Node) outcome(s State, why string, now time.Time) {
	if n.State == StateBooting {
		n.enter(s, why, now)
	}
}

// revive lets b go on: its agent speaks, so it is neither given up, nor over, nor does the machine serve.
func (b *Boot) revive(n *Node, now time.Time) {
	if b.Ended.IsZero() {
		return
	}
	b.Ended, b.Ready = time.Time{}, false
	if n.State == StateFailed || n.State == StateReady || n.State == StateOff {
		n.enter(StateBooting, "it gave a sign of life again", now)
	}
}

// when is the time of an event that happened at this uptime; now, where hello was not heard. A machine
// that cannot count does not tell of the future, or of a time before the boot.
func (b Boot) when(uptime time.Duration, now time.Time) time.Time {
	at := b.Up.Add(uptime)
	if b.Up.IsZero() || uptime <= 0 || at.After(now) {
		return now
	}
	if at.Before(b.Started) {
		return b.Started
	}
	return at
}
