package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

func (p *program) newNodeBootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "boot NODE", Short: "show the timeline of a node's boot, live with --follow",
		Long: "Boot shows the timeline of the node's latest boot, with times from its start. With --follow it goes\n" +
			"on until the machine is ready (exit 0) or its boot has failed (exit 1), and a machine that has not\n" +
			"been seen yet is waited for.",
		Args: wants("NODE"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	out := outputFlag(cmd)
	all := cmd.Flags().Bool("all", false, "list the boots that are kept, the latest first")
	id := cmd.Flags().Uint64("boot", 0, "show this boot instead of the latest")
	follow := cmd.Flags().BoolP("follow", "f", false, "show events as they come, until the boot ends")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *follow && (*all || *id != 0 || out.format != "table") {
			return usageError{cmd, fmt.Errorf("--follow goes alone")}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		switch {
		case *follow:
			return p.followBoot(cmd.Context(), c, args[0], 0)
		case *all:
			boots, err := c.Boots(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return out.print(p.stdout, boots, func(w io.Writer) { printBoots(w, boots, p.now()) })
		}
		b, err := c.Boot(cmd.Context(), args[0], *id)
		if err != nil {
			return err
		}
		return out.print(p.stdout, b, func(w io.Writer) {
			t := timeline{w: w}
			t.add(b, b.Events)
			t.end(b, p.now())
		})
	}
	return cmd
}

// patience is how long --follow waits for a server that restarts: a boot outlives it.
const patience = time.Minute

// followBoot shows the node's latest boot after number after, live; it fails when the boot does.
func (p *program) followBoot(ctx context.Context, c *api.Client, key string, after uint64) error {
	t := timeline{w: p.stdout}
	c.Patience = patience
	b, err := c.FollowBoot(ctx, key, after, t.add)
	if err != nil {
		return err
	}
	t.end(b, p.now())
	if !b.Ready {
		return errReported
	}
	return nil
}

// timeline writes a boot as it goes.
type timeline struct {
	w     io.Writer
	begun bool
}

// add writes events, each with its time from the start of the boot.
func (t *timeline) add(b roles.Boot, events []roles.Event) {
	if !t.begun {
		t.begun = true
		fmt.Fprintf(t.w, "boot %d of %s, started %s\n", b.ID, b.Node, stamp(b.Started))
	}
	for _, e := range events {
		line := fmt.Sprintf("%8s  %-11s  %s", seconds(e.Time.Sub(b.Started)), e.Step, printable(eventText(e)))
		fmt.Fprintln(t.w, strings.TrimRight(line, " "))
	}
}

// end writes how the boot went.
func (t *timeline) end(b roles.Boot, now time.Time) { fmt.Fprintln(t.w, printable(bootResult(b, now))) }

func eventText(e roles.Event) string {
	if e.Error == "" {
		return e.Message
	}
	return join(e.Message, "ERROR: "+e.Error)
}

// bootResult is a boot in a sentence.
func bootResult(b roles.Boot, now time.Time) string {
	what := join(label("as", b.Slot), label("with", b.Image))
	switch {
	case b.Ready:
		return join("ready", what, "after", seconds(b.Ended.Sub(b.Started)))
	case !b.Ended.IsZero():
		return join("not ready: ended at step", string(b.Step), "after", seconds(b.Ended.Sub(b.Started)))
	}
	return join("under way", what, "for", seconds(max(now.Sub(b.Started), 0))+", at step", string(b.Step))
}

func printBoots(w io.Writer, boots []roles.Boot, now time.Time) {
	if len(boots) == 0 {
		fmt.Fprintln(w, "no boots yet")
		return
	}
	g := newGrid("BOOT", "STARTED", "TOOK", "STEP", "SLOT", "IMAGE", "RESULT")
	for _, b := range boots {
		took, result := "", "under way"
		if !b.Ended.IsZero() {
			took, result = seconds(b.Ended.Sub(b.Started)), "not ready"
		}
		if b.Ready {
			result = "ready"
		}
		g.row(fmt.Sprint(b.ID), stamp(b.Started), took, string(b.Step), b.Slot, b.Image, result)
	}
	g.print(w)
}
