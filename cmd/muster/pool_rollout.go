package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/images"
	"muster/roles"
	"muster/roles/api"
)

func (p *program) newPoolRolloutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollout POOL", Short: "take a pool to another image version node by node, and back when one fails",
		Long: "Rollout restarts the nodes of a pool with another image version: first the canaries, then the others in\n" +
			"batches, each batch when the one before is ready. The pool never gets below its minimum by it. When a node\n" +
			"does not become ready in time, or on --stop, what was restarted goes back to the version before.\n\n" +
			"It shows how it goes until it ends: exit 0 when every node runs the new version, 1 when it was rolled\n" +
			"back. Ctrl-C ends only the showing; --status and --stop tell about it and end it.",
		Example: "  muster pool rollout web --image web:8 --canary 1 --batch 2\n  muster pool rollout web --status",
		Args:    wants("POOL"), ValidArgsFunction: p.completeArgs(p.poolNames),
	}
	out := outputFlag(cmd)
	f := cmd.Flags()
	var o rolloutFlags
	f.StringVar(&o.image, "image", "", "the version to roll out: web:8; default: the current one of the role's image")
	f.IntVar(&o.canary, "canary", 1, "how many nodes go first, alone")
	f.IntVar(&o.batch, "batch", 1, "how many nodes restart at the same time after that")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long one node may take until it is ready")
	f.BoolVar(&o.wait, "wait", true, "show how it goes until it ends")
	f.BoolVar(&o.noWait, "no-wait", false, "only start it")
	f.BoolVar(&o.status, "status", false, "tell about the latest rollout of the pool")
	f.BoolVar(&o.stop, "stop", false, "end the rollout that goes on: what was restarted goes back")
	if err := cmd.RegisterFlagCompletionFunc("image", p.completeFlag(p.imageNames)); err != nil {
		panic(err) // The flag was added above.
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return usageError{cmd, err}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if o.status {
			r, err := c.Rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return out.print(p.stdout, r, func(w io.Writer) { printRollout(w, r, p.now()) })
		}
		return p.rollout(cmd, c, out, o.wait && !o.noWait, func(ctx context.Context) (roles.Rollout, error) {
			if o.stop {
				return c.StopRollout(ctx, args[0])
			}
			return c.StartRollout(ctx, args[0], api.RolloutRequest{
				Image: o.image, Canary: o.canary, Batch: o.batch, Timeout: roles.Duration(o.timeout),
			})
		})
	}
	return cmd
}

// rolloutFlags are what an operator says of a rollout.
type rolloutFlags struct {
	image                      string
	canary, batch              int
	timeout                    time.Duration
	wait, noWait, status, stop bool
}

func (o rolloutFlags) check(cmd *cobra.Command) error {
	if o.status && o.stop {
		return errors.New("--status and --stop are two things: give one")
	}
	for _, name := range []string{"image", "canary", "batch", "timeout"} {
		if cmd.Flags().Changed(name) && (o.status || o.stop) {
			return fmt.Errorf("--%s is for a new rollout: it does not go with --status or --stop", name)
		}
	}
	if o.canary < 1 || o.batch < 1 {
		return errors.New("--canary and --batch are numbers from 1")
	}
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout %v: want the time that a machine takes to boot: 10m", o.timeout)
	}
	if o.image != "" {
		_, err := images.ParseRef(o.image)
		return err
	}
	return nil
}

func (p *program) newPoolRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback POOL", Short: "take a pool back to the image that it ran before its latest rollout",
		Long: "Rollback restarts the nodes of a pool, one by one, with the image that the pool ran before its latest\n" +
			"rollout, and shows how it goes like muster pool rollout.",
		Args: wants("POOL"), ValidArgsFunction: p.completeArgs(p.poolNames),
	}
	out := outputFlag(cmd)
	wait := cmd.Flags().Bool("wait", true, "show how it goes until it ends")
	noWait := cmd.Flags().Bool("no-wait", false, "only start it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		return p.rollout(cmd, c, out, *wait && !*noWait, func(ctx context.Context) (roles.Rollout, error) {
			return c.RollbackPool(ctx, args[0])
		})
	}
	return cmd
}

// rollout starts or stops a rollout and, if asked, shows it until it ends.
func (p *program) rollout(cmd *cobra.Command, c *api.Client, out *output, wait bool, do func(context.Context) (roles.Rollout, error)) error {
	r, err := do(cmd.Context())
	if err != nil {
		return err
	}
	stopped := r.State == roles.RolloutRollingBack || r.State == roles.RolloutRolledBack
	if wait {
		show := rolloutLog{w: p.stdout}
		if out.format != "table" {
			show.w = io.Discard
		}
		c.Patience = patience
		pool := r.Pool
		if r, err = c.FollowRollout(cmd.Context(), pool, show.add); err != nil {
			fmt.Fprintf(p.stderr, "the rollout goes on: muster pool rollout %s --status tells about it, --stop takes it back\n", pool)
			return err
		}
	}
	err = out.print(p.stdout, r, func(w io.Writer) { fmt.Fprintln(w, printable(rolloutText(r, p.now()))) })
	if err != nil {
		return err
	}
	// Whoever stopped it wanted it to go back; whoever started it did not.
	if r.State == roles.RolloutFailed || r.State == roles.RolloutRolledBack && !stopped {
		return errReported
	}
	return nil
}

// rolloutLog writes what changes in a rollout, a line for each.
type rolloutLog struct {
	w     io.Writer
	why   string
	slots map[string]roles.RolloutSlot // nil before the first
}

// add writes what is new in r, with times from its start.
func (l *rolloutLog) add(r roles.Rollout) {
	if l.slots == nil {
		l.slots = map[string]roles.RolloutSlot{}
		fmt.Fprintf(l.w, "rollout of %s to pool %s, from %s: %s, canary %d, batches of %d, at most %s each\n",
			r.Image, r.Pool, r.From, plural(len(r.Slots), "node"), r.Canary, r.Batch, short(time.Duration(r.Timeout)))
	}
	for _, s := range r.Slots {
		before := l.slots[s.Name]
		l.slots[s.Name] = s
		// One that restarts a second time was something else between, which this client has not seen.
		if s.State != before.State && (s.State != slotPending || before.State != "") || s.State == slotRestarting && !s.Since.Equal(before.Since) {
			l.line(seconds(max(s.Since.Sub(r.Started), 0)), s.Name, slotText(s.State, r))
		}
	}
	// How it ended is told at the end.
	if r.Ended.IsZero() && !strings.HasPrefix(l.why, r.Why) {
		more := r.Why
		if l.why != "" {
			more = strings.TrimPrefix(more, l.why+"; ")
		}
		l.line("", "", more)
	}
	l.why = r.Why
}

func (l *rolloutLog) line(at, slot, what string) {
	fmt.Fprintf(l.w, "%8s  %-10s  %s\n", at, printable(slot), printable(what))
}

// States of a slot in a rollout: its turn has not come; its node was asked to restart, and is not ready yet.
const (
	slotPending    = "pending"
	slotRestarting = "restarting"
)

// slotText is a slot's part in a rollout, for people.
func slotText(state string, r roles.Rollout) string {
	switch state {
	case slotRestarting:
		if r.State != roles.RolloutRunning {
			return "restarting with " + r.From.String()
		}
		return "restarting with " + r.Image.String()
	case "done":
		return "ready with " + r.Image.String()
	case "back":
		return "ready with " + r.From.String() + " again"
	case "failed":
		return "failed with " + r.Image.String()
	}
	return state
}

// rolloutText is a rollout in a sentence.
func rolloutText(r roles.Rollout, now time.Time) string {
	count := map[string]int{}
	for _, s := range r.Slots {
		count[s.State]++
	}
	what := fmt.Sprintf("%s → %s", r.From, r.Image)
	took := ""
	if !r.Ended.IsZero() {
		took = fmt.Sprintf(" after %s, at %s", short(r.Ended.Sub(r.Started)), stamp(r.Ended))
	}
	switch r.State {
	case roles.RolloutDone:
		return fmt.Sprintf("%s: done, %s%s", what, verb(count["done"], "node", "runs it", "run it"), took)
	case roles.RolloutRolledBack:
		return fmt.Sprintf("%s: rolled back%s: %s", what, took, r.Why)
	case roles.RolloutFailed:
		return fmt.Sprintf("%s: failed%s: %s", what, took, r.Why)
	}
	s := fmt.Sprintf("%s: %s for %s, %d of %s done", what, strings.ReplaceAll(string(r.State), "-", " "), age(now, r.Started), count["done"], plural(len(r.Slots), "node"))
	if r.Why != "" {
		s += ": " + r.Why
	}
	return s
}

func printRollout(w io.Writer, r roles.Rollout, now time.Time) {
	fmt.Fprintf(w, "pool %s, %s\n\n", r.Pool, printable(rolloutText(r, now)))
	g := newGrid("SLOT", "STATE", "SINCE")
	for _, s := range r.Slots {
		g.row(s.Name, s.State, age(now, s.Since))
	}
	g.print(w)
}
