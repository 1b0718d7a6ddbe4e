package roles

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"muster/images"
)

// Reconciler watches over the nodes: it checks the health of those that should serve, makes them ready or
// failed, ends boots that went silent, restarts what is to restart, and takes rollouts on.
type Reconciler struct {
	// Registry is the rack. Required.
	Registry *Registry
	// Checker runs the health checks. Required.
	Checker Checker
	// Tick is how often it looks; zero means 1 s.
	Tick time.Duration
	// Silence is how long a boot may show no sign of life before it counts as failed; zero means 10 min:
	// a big server tests its memory for some minutes after it was switched on.
	Silence time.Duration
	// Parallel bounds the checks that run at the same time; zero means 64.
	Parallel int

	began time.Time // of Run: what machines said before, while no server ran, nobody heard
	cuts  cuts      // machines whose power is cut because they do not restart
	pairs pairWork  // what is under way for storage pairs
}

// Defaults of a health check: a web server that hangs for three seconds, three times in a row, is down.
const (
	DefaultInterval = 5 * time.Second
	DefaultTimeout  = 3 * time.Second
	DefaultFailures = 3
	// bootInterval is the pause between checks of a node that is coming up: people watch.
	bootInterval = time.Second
)

// task is one node to be checked.
type task struct {
	node Node
	boot Boot
	role Role
}

// Run works until ctx ends.
func (c *Reconciler) Run(ctx context.Context) error {
	tick := c.Tick
	if tick == 0 {
		tick = time.Second
	}
	t := time.NewTicker(tick)
	defer t.Stop()
	c.began = c.Registry.now()
	c.Registry.pairs.listen(c.began)
	defer c.cuts.Wait()
	defer c.pairs.Wait()
	last := map[MAC]time.Time{}
	for {
		active, err := c.pass(ctx, last)
		if err != nil && ctx.Err() == nil {
			c.Registry.log().Error("reconcile", "err", err)
		}
		if !c.idle(ctx, t.C, active) {
			return nil
		}
	}
}

// watchPause spares the store while a rack that rolls out changes with every event of every boot.
const watchPause = 100 * time.Millisecond

// idle waits for the next tick; rollouts that are active go on with every change of the rack until then. It is
// false when ctx ended.
func (c *Reconciler) idle(ctx context.Context, tick <-chan time.Time, active bool) bool {
	for {
		var changed <-chan struct{}
		if active {
			changed = c.Registry.Watch(c.Registry.Revision())
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case <-time.After(watchPause):
		}
		var err error
		if active, err = c.rollouts(ctx); err != nil && ctx.Err() == nil {
			c.Registry.log().Error("rollout", "err", err)
		}
	}
}

// pass looks at the nodes and takes rollouts on; it reports whether one is active. last holds when each node
// was checked before.
func (c *Reconciler) pass(ctx context.Context, last map[MAC]time.Time) (active bool, err error) {
	if err := c.look(ctx, last); err != nil {
		return false, err
	}
	return c.rollouts(ctx)
}

// look checks every node that is due.
func (c *Reconciler) look(ctx context.Context, last map[MAC]time.Time) error {
	now := c.Registry.now()
	tasks, silent, err := c.due(last, now)
	if err != nil {
		return err
	}
	c.cut(ctx, now)
	if err := c.tendPairs(ctx, now); err != nil {
		return err
	}
	limit := c.Parallel
	if limit == 0 {
		limit = 64
	}
	gate := make(chan struct{}, limit)
	var wg sync.WaitGroup
	for _, t := range tasks {
		last[t.node.MAC] = now
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			c.check(ctx, t)
		})
	}
	wg.Wait()
	for _, n := range silent {
		if err := c.giveUp(ctx, n, now); err != nil {
			return err
		}
	}
	return nil
}

// due gives the nodes to check now and those whose boot went silent.
func (c *Reconciler) due(last map[MAC]time.Time, now time.Time) (tasks []task, silent []Node, err error) {
	err = c.Registry.Store.View(func(tx Tx) error {
		roles := map[string]*Role{} // by pool
		c.cuts.wanted = c.cuts.wanted[:0]
		for n := range tx.Nodes().All() {
			if n.Restart != "" {
				c.cuts.wanted = append(c.cuts.wanted, n)
			}
			if n.State != StateBooting && n.State != StateReady && n.State != StateFailed {
				continue
			}
			// A timeline takes time to read: nodes that serve are most of a rack, and rarely due.
			role := c.roleOf(tx, roles, n)
			due := role != nil && (n.State == StateBooting || role.Health != nil) && now.Sub(last[n.MAC]) >= pause(n, *role)
			if !due && n.State != StateBooting {
				continue
			}
			b, booted := latest(tx, n)
			switch {
			case !booted:
			case n.State == StateBooting && c.isSilent(n, b, now) && !c.Registry.excused(tx, n, now) && !c.Registry.pairs.hears(n, now):
				silent = append(silent, n)
			case due && c.checked(tx, n, b):
				tasks = append(tasks, task{n, b, *role})
			}
		}
		return nil
	})
	return tasks, silent, err
}

// roleOf gives the role by which n is checked; nil for none.
func (c *Reconciler) roleOf(tx Tx, known map[string]*Role, n Node) *Role {
	if n.Slot == "" || n.Pool == "" {
		return nil
	}
	role, ok := known[n.Pool]
	if !ok {
		p, _ := tx.Pools().Get(n.Pool)
		if r, err := c.Registry.effective(tx, p.Role); err == nil {
			role = &r
		}
		known[n.Pool] = role
	}
	return role
}

// checked reports whether n, which has a slot, may serve.
func (c *Reconciler) checked(tx Tx, n Node, b Boot) bool {
	switch n.State {
	case StateBooting:
		return n.Restart == "" && mayServe(n, b, c.Registry.now())
	case StateFailed:
		return order(b.Step) >= order(StepSwitchRoot) || servesOn(tx, n, b)
	}
	return true
}

// pause is the time between two checks of n.
func pause(n Node, role Role) time.Duration {
	if n.State == StateBooting {
		return bootInterval
	}
	return role.Health.Interval.Or(DefaultInterval)
}

// servesOn reports whether what answers at n's address may be what n served before b: b never came to an
// agent, and n was ready in the same slot before. A DISCOVER with the MAC of a machine that serves proves
// little; a machine that did restart answers no more.
func servesOn(tx Tx, n Node, b Boot) bool {
	if order(b.Step) >= order(StepHello) {
		return false
	}
	for before := range tx.BootsOf(n.MAC) {
		if before.ID != b.ID && order(before.Step) >= order(StepHello) {
			return before.Ready && before.Slot == n.Slot
		}
	}
	return false
}

// lostWords is how long the agent of a boot that has its spec must be silent before a service that answers
// counts as its own: its last words may have been lost. Until then what answers may be the machine that had
// the slot before.
const lostWords = 30 * time.Second

// mayServe reports whether a booting node has come so far that its service may answer.
func mayServe(n Node, b Boot, now time.Time) bool {
	if !b.Ended.IsZero() || order(b.Step) < order(StepSpec) {
		return false
	}
	if order(b.Step) >= order(StepSwitchRoot) {
		return true
	}
	failing := len(b.Events) > 0 && b.Events[len(b.Events)-1].Error != ""
	return !failing && now.Sub(lastWord(n, b)) > lostWords
}

// lastWord is when a boot last gave a sign of life.
func lastWord(n Node, b Boot) time.Time {
	last := b.Started
	if k := len(b.Events); k > 0 && b.Events[k-1].Time.After(last) {
		last = b.Events[k-1].Time
	}
	if n.LastSeen.After(last) {
		last = n.LastSeen
	}
	return last
}

func (c *Reconciler) isSilent(n Node, b Boot, now time.Time) bool {
	limit := c.Silence
	if limit == 0 {
		limit = 10 * time.Minute
	}
	heard := lastWord(n, b)
	if n.Restart != "" {
		heard = n.Since // what it says is not that it restarts
	}
	// A node that has just come to this state is heard of next.
	for _, t := range []time.Time{heard, n.Since, c.began} {
		if now.Sub(t) <= limit {
			return false
		}
	}
	return true
}

// check runs one check and records what changed by it.
func (c *Reconciler) check(ctx context.Context, t task) {
	var err error
	if h := t.role.Health; h != nil {
		cctx, cancel := context.WithTimeout(ctx, h.Timeout.Or(DefaultTimeout))
		err = c.Checker.Check(cctx, *h, t.node)
		cancel()
	} else if order(t.boot.Step) < order(StepSwitchRoot) {
		return
	}
	if ctx.Err() != nil {
		return
	}
	if err := c.record(ctx, t, err); err != nil {
		c.Registry.log().Error("health check not recorded", "mac", t.node.MAC, "err", err)
	}
}

// record applies the outcome of a check, unless the node has moved on meanwhile.
func (c *Reconciler) record(ctx context.Context, t task, failure error) error {
	if failure == nil && t.node.State == StateReady && t.node.Failures == 0 {
		return nil
	}
	r := c.Registry
	now := r.now()
	return r.Store.Update(ctx, func(tx Tx) error {
		n, ok := tx.Nodes().Get(t.node.MAC)
		if !ok || n.Boot != t.boot.ID || n.Slot != t.node.Slot || n.State != t.node.State || n.Restart != t.node.Restart {
			return nil
		}
		b, ok := latest(tx, n)
		if !ok || !b.Ended.Equal(t.boot.Ended) {
			return nil
		}
		if failure == nil {
			return r.passed(tx, n, b, now)
		}
		if n.State == StateReady && r.excused(tx, n, now) {
			return nil
		}
		return r.unhealthy(tx, n, b, t.role, failure, now)
	})
}

func (r *Registry) passed(tx Tx, n Node, b Boot, now time.Time) error {
	was := n.State
	n.Failures = 0
	if was != StateReady {
		if b.Ready = true; b.Ended.IsZero() {
			b.Ended = now
		}
		n.enter(StateReady, "", now)
		msg := fmt.Sprintf("serves as %s at %s", n.Slot, n.Address)
		r.log().Info("node is ready", "mac", n.MAC, "node", n.Slot, "pool", n.Pool, "seconds", int(now.Sub(b.Started).Seconds()))
		if err := advance(tx, n, &b, Event{Time: now, Step: StepReady, Message: msg}); err != nil {
			return err
		}
	}
	return tx.Nodes().Put(n)
}

func (r *Registry) unhealthy(tx Tx, n Node, b Boot, role Role, failure error, now time.Time) error {
	if n.State == StateBooting {
		return r.notYet(tx, n, b, failure, now)
	}
	if n.State == StateFailed {
		return nil // known; a write for every check of a dead node would keep the store busy
	}
	n.Failures++
	limit := role.Health.Failures
	if limit == 0 {
		limit = DefaultFailures
	}
	if n.Failures >= limit {
		n.enter(StateFailed, fmt.Sprintf("%d health checks in a row failed: %v", n.Failures, failure), now)
		r.log().Warn("node failed", "mac", n.MAC, "node", n.Slot, "pool", n.Pool, "err", failure)
		if _, err := tx.Append(Event{Time: now, Node: n.MAC, Name: n.Slot, Boot: b.ID, Step: StepHealth, Error: n.Why}); err != nil {
			return err
		}
	}
	return tx.Nodes().Put(n)
}

// slowStart is how long a service may take after switch-root before the timeline says that it does not
// answer: systemd takes some seconds even on a fast machine.
const slowStart = time.Minute

// notYet notes why a booting node is not ready.
func (r *Registry) notYet(tx Tx, n Node, b Boot, failure error, now time.Time) error {
	if order(b.Step) < order(StepSwitchRoot) {
		return nil
	}
	if why := "its service does not answer yet: " + failure.Error(); n.Why != why {
		n.Why = why
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
	}
	// Said once for every reason, or the timeline would drown.
	last := Event{Time: b.Started}
	if k := len(b.Events); k > 0 {
		last = b.Events[k-1]
	}
	if now.Sub(last.Time) < slowStart || last.Step == StepHealth && last.Error == failure.Error() {
		return nil
	}
	return advance(tx, n, &b, Event{Time: now, Step: StepHealth, Error: failure.Error()})
}

// giveUp ends a boot that went silent.
func (c *Reconciler) giveUp(ctx context.Context, silent Node, now time.Time) error {
	r := c.Registry
	return r.Store.Update(ctx, func(tx Tx) error {
		n, ok := tx.Nodes().Get(silent.MAC)
		if !ok || n.Boot != silent.Boot || n.State != StateBooting {
			return nil
		}
		b, ok := latest(tx, n)
		if !ok || !c.isSilent(n, b, now) {
			return nil
		}
		if n.Restart != "" {
			return unwantRestart(tx, n, now)
		}
		why := fmt.Sprintf("no sign of life since step %s; %s", cmp.Or(string(b.Step), "power"), r.advice(b))
		if n.Why != "" {
			why += " (" + n.Why + ")"
		}
		n.enter(StateFailed, why, now)
		if err := tx.Nodes().Put(n); err != nil {
			return err
		}
		r.log().Warn("boot went silent", "mac", n.MAC, "node", n.Slot, "step", b.Step)
		if err := advance(tx, n, &b, Event{Time: now, Step: StepFail, Error: why}); err != nil {
			return err
		}
		if b.Ended.IsZero() {
			b.Ended = now
		}
		return tx.Boots().Put(b)
	})
}

// advice is what to look at after a boot went silent.
func (r *Registry) advice(b Boot) string {
	if b.Step != StepKernel && b.Step != StepInitrd {
		return "look at its console: is it on, and set to boot from the network?"
	}
	ref, err := images.ParseRef(b.Image)
	if err != nil { // it had no slot, and its boot names no image
		return "look at its console: its kernel was loaded, and its agent did not speak"
	}
	if img, err := r.Images.Find(ref); err == nil && img.Flavour == images.KernelCloud {
		return fmt.Sprintf("the kernel of %s is the small one (cloud), for virtual network cards only: where the card is a real one, build the image without kernel: cloud", ref)
	}
	return fmt.Sprintf("look at its console: the kernel of %s was loaded, and its agent did not speak", ref)
}
