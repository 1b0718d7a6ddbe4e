package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Bounds of a restart.
const (
	// agentPoll is how long a running system's agent may be silent before it counts as gone: its long polls
	// end after 25 s at the latest, and it repeats one that failed.
	agentPoll = 90 * time.Second
	// agentWait is how long after its start a server has not heard every agent yet.
	agentWait = 35 * time.Second
	// restartGrace is how long an agent that was asked to restart its machine has until the next boot begins.
	restartGrace = 60 * time.Second
)

// agents remembers when each node's own agent last spoke. It is not stored: an agent that lives speaks again
// within half a minute of a server's start. The zero value is ready.
type agents struct {
	mu sync.Mutex
	at map[MAC]time.Time
}

// noteAgent notes that the running system's agent of mac spoke at this time.
func (r *Registry) noteAgent(mac MAC, at time.Time) {
	r.agents.mu.Lock()
	defer r.agents.mu.Unlock()
	if r.agents.at == nil {
		r.agents.at = map[MAC]time.Time{}
	}
	if at.After(r.agents.at[mac]) {
		r.agents.at[mac] = at
	}
}

// agentAlive reports whether the running system's agent of mac spoke lately.
func (r *Registry) agentAlive(mac MAC) bool {
	n, ok := r.peek(mac)
	if !ok {
		return false
	}
	var b Boot
	_ = r.Store.View(func(tx Tx) error { b, _ = latest(tx, n); return nil })
	return r.speaks(n, b)
}

// speaks is agentAlive for a node whose latest boot is b: what the agent of an earlier boot said counts for
// nothing. The agent of a node that has just become ready starts after its services; it is about to speak.
func (r *Registry) speaks(n Node, b Boot) bool {
	r.agents.mu.Lock()
	defer r.agents.mu.Unlock()
	if at, ok := r.agents.at[n.MAC]; ok && at.After(b.Started) {
		return r.now().Sub(at) <= agentPoll
	}
	return b.Claim != "" && b.Ready && r.now().Sub(b.Ended) <= agentWait
}

// RestartNode asks a node to restart: its own agent does that in good order; where none answers, the power
// driver cuts the power. The error wraps fs.ErrInvalid where there is neither.
func (r *Registry) RestartNode(ctx context.Context, key, why string) (Node, error) {
	why = cmp.Or(why, "an operator asked for it")
	var out Node
	var asked bool
	err := r.Store.Update(ctx, func(tx Tx) error {
		n, err := find(tx, key)
		if err != nil {
			return err
		}
		if n.State == StateOff {
			return fmt.Errorf("%s is switched off: nothing to restart: %w", key, fs.ErrInvalid)
		}
		b, _ := latest(tx, n)
		out, asked = n, r.speaks(n, b)
		if asked {
			out, err = wantRestart(tx, n, why, r.now())
			return err
		}
		if _, _, err := r.driver(n); err != nil {
			return fmt.Errorf("%s cannot be restarted: its own agent does not answer, and it has no power driver; restart it by hand: %w", key, fs.ErrInvalid)
		}
		return nil
	})
	if err != nil {
		return Node{}, err
	}
	if !asked {
		if err := r.cycle(ctx, out, why); err != nil {
			return Node{}, err
		}
	}
	r.log().Info("node restarts", "mac", out.MAC, "node", out.Slot, "why", why, "agent", asked)
	return r.Node(out.MAC.String())
}

// wantRestart wants n to restart. Until its next boot begins it is booting: it serves no more, and has not failed.
func wantRestart(tx Tx, n Node, why string, now time.Time) (Node, error) {
	n.Restart, n.Failures = why, 0
	if n.Slot != "" && n.State != StateDraining {
		n.State, n.Since, n.Why = StateBooting, now, "restarts: "+why
	}
	if err := tx.Nodes().Put(n); err != nil {
		return n, err
	}
	_, err := tx.Append(Event{Time: now, Node: n.MAC, Name: n.Slot, Boot: n.Boot, Step: StepOperator, Message: "asked to restart: " + why})
	return n, err
}

// unwantRestart takes back that n is to restart, because it never began to. Its health check tells whether it serves.
func unwantRestart(tx Tx, n Node, now time.Time) error {
	why := fmt.Sprintf("it was asked to restart (%s), and did not: restart it by hand", n.Restart)
	n.Restart = ""
	if n.State == StateBooting {
		n.enter(StateFailed, why, now)
		if b, ok := latest(tx, n); ok && b.Ended.IsZero() {
			b.Ended = now
			if err := tx.Boots().Put(b); err != nil {
				return err
			}
		}
	}
	if err := tx.Nodes().Put(n); err != nil {
		return err
	}
	_, err := tx.Append(Event{Time: now, Node: n.MAC, Name: n.Slot, Boot: n.Boot, Step: StepFail, Error: why})
	return err
}

// restarted notes in its timeline that b, which has just begun, is the restart that somebody wanted.
func (n *Node) restarted(tx Tx, b Boot) error {
	if n.Restart == "" {
		return nil
	}
	ev := Event{Time: b.Started, Node: n.MAC, Name: n.Slot, Boot: b.ID, Step: StepOperator, Message: "restarted: " + n.Restart}
	n.Restart = ""
	_, err := tx.Append(ev)
	return err
}

// SyncNode asks a node to fetch its files anew. It gives the node; its Files become the current revision when
// it has them. The error wraps fs.ErrInvalid where no agent of ours runs in the node.
func (r *Registry) SyncNode(ctx context.Context, key string) (out Node, err error) {
	err = r.Store.Update(ctx, func(tx Tx) error {
		if out, err = find(tx, key); err != nil {
			return err
		}
		if b, _ := latest(tx, out); !r.speaks(out, b) {
			return fmt.Errorf("%s cannot be synced: its own agent does not answer; it has the new files when it boots: %w", key, fs.ErrInvalid)
		}
		// Either wakes the agent's long poll.
		out.Sync = true
		if err := tx.Nodes().Put(out); err != nil {
			return err
		}
		return operator(tx, out, r.now(), "files synced by an operator")
	})
	if err != nil {
		return Node{}, err
	}
	return out.shown(), nil
}
