package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

// change is a command that changes one node and then says how the node is now.
func (p *program) change(cmd *cobra.Command, do func(context.Context, *api.Client, []string) (roles.Node, error)) *cobra.Command {
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		n, err := do(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		return out.print(p.stdout, n, func(w io.Writer) { fmt.Fprintln(w, printable(outcome(n))) })
	}
	return cmd
}

// outcome is how a node is, in a sentence.
func outcome(n roles.Node) string {
	s := fmt.Sprintf("%s: %s", n.MAC, n.State)
	switch {
	case n.State == roles.StateDraining:
		s += fmt.Sprintf(" in %s; it moves to %s at its next boot (muster node power %s cycle)", n.Slot, n.Pool, n.MAC)
	case n.Slot != "":
		s += " in " + n.Slot
		if n.Address.IsValid() {
			s += ", " + n.Address.String()
		}
	case n.Pool != "":
		s += ", belongs to pool " + n.Pool
	}
	return s
}

func (p *program) newNodeAssignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "assign NODE POOL [SLOT]", Short: "put a node into a pool; the node may be a MAC never seen",
		Long: "Assign puts a node into a pool, and into one of its slots if one is named. A node that waits goes\n" +
			"there at once; one that serves keeps its slot until its next boot. The node may be a MAC that was\n" +
			"never seen: it takes its place when the machine is switched on.",
		Example: "  muster node assign 52:54:00:aa:00:01 ntp\n  muster node assign web-03 ntp ntp-01",
		Args:    wants("NODE", "POOL", "[SLOT]"), ValidArgsFunction: p.completeArgs(p.nodeKeys, p.poolNames, p.slotNames),
	}
	return p.change(cmd, func(ctx context.Context, c *api.Client, args []string) (roles.Node, error) {
		slot := ""
		if len(args) > 2 {
			slot = args[2]
		}
		return c.Assign(ctx, args[0], args[1], slot)
	})
}

func (p *program) newNodeReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "release NODE", Short: "take a node out of its slot and pool",
		Args: wants("NODE"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	return p.change(cmd, func(ctx context.Context, c *api.Client, args []string) (roles.Node, error) {
		return c.Release(ctx, args[0])
	})
}

func (p *program) newNodeReplaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replace OLD NEW", Short: "give the slot of one node to another, with its name, address and state",
		Long: "Replace gives the slot of one node to another, which may be a MAC never seen. The old machine is\n" +
			"switched off first, if its power driver can: two must not write one state. Otherwise do that by hand.",
		Example: "  muster node replace web-01 52:54:00:aa:00:07",
		Args:    wants("OLD", "NEW"), ValidArgsFunction: p.completeArgs(p.nodeKeys, p.nodeKeys),
	}
	return p.change(cmd, func(ctx context.Context, c *api.Client, args []string) (roles.Node, error) {
		return c.Replace(ctx, args[0], args[1])
	})
}

func (p *program) newNodeForgetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "forget NODE", Short: "delete what is known of a node and its boots",
		Args: wants("NODE"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client(cmd)
			if err != nil {
				return err
			}
			if err := c.Forget(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s: forgotten\n", printable(args[0]))
			return nil
		},
	}
}

func (p *program) newNodePowerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "power NODE on|off|cycle|status", Short: "switch a node, or ask whether it is on",
		Args: wants("NODE", "on|off|cycle|status"), ValidArgsFunction: p.completeArgs(p.nodeKeys, powerActions),
	}
	follow := cmd.Flags().BoolP("follow", "f", false, "then follow the boot (on, cycle)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		action := roles.PowerAction(args[1])
		switch action {
		case roles.PowerOn, roles.PowerCycle:
		case roles.PowerOff, roles.PowerStatus:
			if *follow {
				return usageError{cmd, fmt.Errorf("--follow goes with on and cycle, not with %s", action)}
			}
		default:
			return usageError{cmd, fmt.Errorf("%q is not a power action: want on, off, cycle or status", args[1])}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		return p.power(cmd.Context(), c, args[0], action, *follow)
	}
	return cmd
}

func (p *program) power(ctx context.Context, c *api.Client, key string, action roles.PowerAction, follow bool) error {
	n, err := c.Node(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	on, err := c.Power(ctx, key, action)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: %s\n", printable(key), map[bool]string{true: "on", false: "off"}[on])
	if !follow {
		return nil
	}
	// By MAC: the machine may be in another slot when it is up.
	return p.followBoot(ctx, c, n.MAC.String(), n.Boot)
}

func powerActions(context.Context, *api.Client) []string {
	return []string{"on", "off", "cycle", "status"}
}
