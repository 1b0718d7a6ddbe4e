package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"muster/roles"
)

// claimKey is what every machine of a script claims its boots with.
var claimKey = strings.Repeat("5a", 32)

// machines has the machines of the rack do what they are asked to, until the world ends: they restart, their agents
// fetch files, and time goes on while something is under way. Health checks fail in nodes that run broken.
func (w *world) machines(broken string) {
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 2)
	go func() {
		ran <- (&roles.Reconciler{Registry: w.reg, Checker: checks{broken}, Tick: time.Millisecond}).Run(ctx)
	}()
	go func() {
		err := w.obey(ctx)
		if err != nil && ctx.Err() == nil {
			panic(err) // The script waits for the machines, and would for ever.
		}
		ran <- err
	}()
	before := w.stop
	w.stop = func() {
		cancel()
		for range 2 {
			if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
				panic(err) // No test is there to tell.
			}
		}
		before()
	}
}

// obey looks at the nodes every few milliseconds, until ctx ends.
func (w *world) obey(ctx context.Context) error {
	for ctx.Err() == nil {
		nodes, err := w.reg.Nodes()
		if err != nil {
			return err
		}
		busy := false
		for _, n := range nodes {
			var err error
			switch {
			case n.Restart != "", w.switchedOn(n):
				err = w.boot(n.MAC.String(), true)
			case w.up(n):
				err = w.speak(ctx, n)
			}
			busy = busy || n.State == roles.StateBooting
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
		if busy {
			w.later(time.Second)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// up reports whether a node's system runs, healthy or not.
func (w *world) up(n roles.Node) bool {
	b, err := w.reg.Boot(n.MAC.String(), 0)
	return err == nil && slices.Contains([]roles.Step{roles.StepSwitchRoot, roles.StepHealth, roles.StepReady}, b.Step)
}

// switchedOn reports whether a node's power driver has just switched it on.
func (w *world) switchedOn(n roles.Node) bool {
	b, err := w.reg.Boot(n.MAC.String(), 0)
	return err == nil && b.Step == roles.StepPower && b.Ended.IsZero()
}

// spoken waits until the agent of every node that serves has spoken in its latest boot.
func (w *world) spoken() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		nodes, err := w.reg.Nodes()
		if err != nil {
			return err
		}
		w.mu.Lock()
		silent := slices.DeleteFunc(nodes, func(n roles.Node) bool { return n.State != roles.StateReady || w.spoke[n.MAC] == n.Boot })
		w.mu.Unlock()
		if len(silent) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the agent of %s has not spoken", silent[0].MAC)
		}
	}
}

// speak plays a node's own agent: it says which files it has, and fetches them when it is asked to.
func (w *world) speak(ctx context.Context, n roles.Node) error {
	if n.Sync || n.Files == "" {
		f, err := w.reg.Files(ctx, n.Slot, n.Image)
		if err != nil {
			return err
		}
		n.Files = f.Revision
	}
	if _, err := w.reg.Present(ctx, n.MAC, claimKey, n.Files); err != nil {
		return err
	}
	w.mu.Lock()
	w.spoke[n.MAC] = n.Boot
	w.mu.Unlock()
	if !n.Sync {
		return nil
	}
	return w.reg.Synced(ctx, n.MAC)
}

// checks fail in nodes that run the image broken.
type checks struct{ broken string }

func (c checks) Check(_ context.Context, _ roles.Health, n roles.Node) error {
	if c.broken != "" && n.Image == c.broken {
		return errors.New("connection refused")
	}
	return nil
}
