package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

func (p *program) newNodeRestartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restart NODE", Short: "have a node restart in good order, with the image that is next for it",
		Long: "Restart asks the node's own agent to restart it, which stops its services first. Where no agent answers,\n" +
			"the power driver cuts the power.",
		Args: wants("NODE"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	why := cmd.Flags().String("why", "", "the reason, for the node's console and its timeline")
	follow := cmd.Flags().BoolP("follow", "f", false, "then follow the boot")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		n, err := c.RestartNode(cmd.Context(), args[0], *why)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s: asked to restart\n", nodeName(n))
		if !*follow {
			return nil
		}
		// By MAC: the machine may be in another slot when it is up.
		return p.followBoot(cmd.Context(), c, n.MAC.String(), n.Boot)
	}
	return cmd
}

func (p *program) newNodeSyncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sync NODE", Short: "have running nodes fetch their files, as the roles and pools declare them now",
		Long: "Sync has a running node fetch its files anew: what changed is written, and the units that the role names\n" +
			"are reloaded. It waits until the node has them. With --pool or --all it takes every ready node; the others\n" +
			"get their files when they boot.",
		Example: "  muster node sync web-01\n  muster node sync --pool web",
		Args:    wants("[NODE]"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	pool := cmd.Flags().String("pool", "", "the ready nodes of this pool")
	all := cmd.Flags().Bool("all", false, "every ready node")
	timeout := cmd.Flags().Duration("timeout", time.Minute, "how long to wait for the nodes; 0 means not at all")
	if err := cmd.RegisterFlagCompletionFunc("pool", p.completeFlag(p.poolNames)); err != nil {
		panic(err) // The flag was added above.
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		given := len(args)
		for _, b := range []bool{*pool != "", *all} {
			if b {
				given++
			}
		}
		if given != 1 {
			return usageError{cmd, errors.New("name a node, or --pool POOL, or --all")}
		}
		if *timeout < 0 {
			return usageError{cmd, fmt.Errorf("--timeout %v is negative", *timeout)}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if args, err = syncable(cmd.Context(), c, *pool); err != nil {
				return err
			}
		}
		return p.sync(cmd.Context(), c, args, *timeout)
	}
	return cmd
}

// syncable are the ready nodes, of one pool or of all ("").
func syncable(ctx context.Context, c *api.Client, pool string) ([]string, error) {
	if pool != "" {
		if _, err := c.Pool(ctx, pool); err != nil {
			return nil, err
		}
	}
	nodes, err := c.Nodes(ctx)
	var out []string
	for _, n := range nodes {
		if n.State == roles.StateReady && (pool == "" || n.Pool == pool) {
			out = append(out, nodeName(n))
		}
	}
	return out, err
}

// sync asks the nodes, all at first, and then waits for one after the other.
func (p *program) sync(ctx context.Context, c *api.Client, keys []string, timeout time.Duration) error {
	if len(keys) == 0 {
		fmt.Fprintln(p.stdout, "no node is ready: nodes get their files when they boot")
		return nil
	}
	var asked []api.SyncStatus
	var failed []error
	for _, key := range keys {
		s, err := c.SyncNode(ctx, key)
		switch {
		case err != nil && len(keys) == 1:
			return err
		case err != nil && (ctx.Err() != nil || errors.Is(err, api.ErrUnreachable)):
			return err
		case err != nil:
			failed = append(failed, err)
			continue
		}
		asked = append(asked, s)
	}
	for _, err := range failed {
		printError(p.stderr, err)
	}
	late := 0
	wait, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c.Patience = patience
	for _, s := range asked {
		how, err := synced(wait, c, s)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			how = "asked; it has not got them yet"
			if timeout > 0 {
				how = fmt.Sprintf("has not got them within %v; it is still asked to", timeout)
				late++
			}
		case err != nil:
			return err
		}
		fmt.Fprintf(p.stdout, "%s: %s\n", nodeName(s.Node), how)
	}
	if late+len(failed) > 0 {
		return errReported
	}
	return nil
}

// synced waits until a node has the files that it was asked to fetch, and says how it got them.
func synced(ctx context.Context, c *api.Client, s api.SyncStatus) (how string, err error) {
	if s.Node.Files == s.Wanted {
		return "has them already", nil
	}
	_, err = c.WaitNode(ctx, s.Node.MAC.String(), func(n roles.Node) bool {
		switch {
		case n.Files == s.Wanted:
			how = "has fetched its files"
		case n.Boot != s.Node.Boot:
			how = "restarts, and gets its files as it boots"
		case !n.Sync:
			// The server itself compares what the node says with what is declared.
			how = "has fetched its files, which have changed once more"
		}
		return how != ""
	})
	return how, err
}
