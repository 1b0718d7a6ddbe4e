package roles

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// cutTimeout bounds the wait for a power driver: a PDU that sleeps, or none.
const cutTimeout = 30 * time.Second

// cuts are the nodes that are to restart. Only the reconciler's own goroutine touches the fields.
type cuts struct {
	sync.WaitGroup                   // drivers at work; they end within twice cutTimeout
	wanted         []Node            // those that are to restart, as the last look found them
	since          map[MAC]time.Time // when it was first seen that each is to restart, or when its power was cut in vain
}

// cut cuts the power of machines that were asked to restart and do not: their agent is gone, or hangs.
func (c *Reconciler) cut(ctx context.Context, now time.Time) {
	since := map[MAC]time.Time{}
	for _, n := range c.cuts.wanted {
		first, seen := c.cuts.since[n.MAC]
		if !seen {
			first = now
		}
		since[n.MAC] = first
		gone := !c.Registry.agentAlive(n.MAC) && now.Sub(c.began) > agentWait && !seen
		if !gone && now.Sub(first) < restartGrace {
			continue
		}
		if _, _, err := c.Registry.driver(n); err != nil {
			continue
		}
		since[n.MAC] = now // the next attempt is after the grace
		c.cuts.Go(func() { c.cutOne(ctx, n) })
	}
	c.cuts.since = since
}

func (c *Reconciler) cutOne(ctx context.Context, n Node) {
	ctx, cancel := context.WithTimeout(ctx, cutTimeout)
	defer cancel()
	r := c.Registry
	if now, ok := r.peek(n.MAC); !ok || now.Restart == "" {
		return // it restarts
	}
	err := r.cycle(ctx, n, "")
	if err == nil {
		r.log().Info("node restarts by its power", "mac", n.MAC, "node", n.Slot, "why", n.Restart)
		return
	}
	r.log().Warn("node could not be restarted by its power", "mac", n.MAC, "node", n.Slot, "err", err)
	ev := Event{Time: r.now(), Node: n.MAC, Name: n.Slot, Boot: n.Boot, Step: StepPower, Error: fmt.Sprintf("could not be restarted: %v", err)}
	err = r.Store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
		if n, ok := tx.Nodes().Get(n.MAC); ok && n.Restart != "" && n.State == StateBooting {
			n.Why = ev.Error
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
		}
		_, err := tx.Append(ev)
		return err
	})
	if err != nil {
		r.log().Error("event not recorded", "mac", n.MAC, "err", err)
	}
}
