package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
)

func (p *program) newPoolCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "pool", Short: "pools and their slots: list, show, rollout, rollback"})
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the pools", Args: wants()}
	out := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		pools, err := c.Pools(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, pools, func(w io.Writer) { printPools(w, pools) })
	}
	cmd.AddCommand(list, p.newPoolShowCommand(), p.newPoolRolloutCommand(), p.newPoolRollbackCommand())
	return cmd
}

func printPools(w io.Writer, pools []roles.PoolStatus) {
	if len(pools) == 0 {
		fmt.Fprintln(w, "no pools: declare some with muster apply -f rack.yaml")
		return
	}
	g := newGrid("POOL", "ROLE", "SLOTS", "MIN", "READY", "BOOTING", "FAILED", "FREE", "MISSING", "ADDRESSES")
	for _, s := range pools {
		g.row(s.Name, s.Role, fmt.Sprint(len(s.Slots)), fmt.Sprint(s.Size.Min), fmt.Sprint(s.Ready), fmt.Sprint(s.Booting),
			fmt.Sprint(s.Failed), fmt.Sprint(s.Free), fmt.Sprint(s.Missing), s.Addresses.String())
	}
	g.print(w)
}

func (p *program) newPoolShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show POOL", Short: "show a pool and its slots",
		Args: wants("POOL"), ValidArgsFunction: p.completeArgs(p.poolNames),
	}
	out := outputFlag(cmd)
	all := cmd.Flags().Bool("all", false, "show the slots that nobody has ever occupied too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		s, err := c.Pool(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		r, err := c.Rollout(cmd.Context(), args[0])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return out.print(p.stdout, s, func(w io.Writer) { printPool(w, s, r, *all, p.now()) })
	}
	return cmd
}

// printPool writes a pool, with its latest rollout if r is one.
func printPool(w io.Writer, p roles.PoolStatus, r roles.Rollout, all bool, now time.Time) {
	g := newGrid()
	g.field("pool", p.Name)
	g.field("role", p.Role)
	g.field("image", p.Image)
	if !r.Started.IsZero() {
		g.field("rollout", rolloutText(r, now))
	}
	g.field("size", fmt.Sprintf("%s, at least %d nodes", plural(len(p.Slots), "slot"), p.Size.Min))
	g.field("addresses", p.Addresses.String())
	g.field("pair", pairText(p.Pool))
	g.field("storage", p.Storage)
	g.field("priority", fmt.Sprint(p.Priority))
	g.field("match", matchText(p.Match))
	g.field("nodes", fmt.Sprintf("%d ready, %d booting, %d failed, %d free, %d missing", p.Ready, p.Booting, p.Failed, p.Free, p.Missing))
	g.print(w)
	fmt.Fprintln(w)
	g = newGrid("SLOT", "ADDRESS", "STATE", "NODE", "SINCE")
	hidden := 0
	for _, s := range p.Slots {
		switch {
		case !s.Node.IsZero():
			g.row(s.Name, addrText(s.Address), string(s.State), s.Node.String(), age(now, s.Since))
		case s.Used:
			g.row(s.Name, addrText(s.Address), "free (used before)", "", age(now, s.Since))
		case all:
			g.row(s.Name, addrText(s.Address), "free", "", "")
		default:
			hidden++
		}
	}
	if hidden < len(p.Slots) {
		g.print(w)
	}
	if hidden > 0 {
		fmt.Fprintf(w, "and %s never used (--all lists them)\n", plural(hidden, "slot"))
	}
}

// pairText is what makes a pool a storage pair; "" for a pool that is none.
func pairText(p roles.Pool) string {
	if p.Pair == nil {
		return ""
	}
	return fmt.Sprintf("%s, on the disk %s (muster storage status %s)", p.Pair.Address, flowText(p.Pair.Disk), p.Name)
}

// matchText is the pool's rule on one line.
func matchText(m *roles.Match) string {
	if m == nil {
		return "none: only assigned nodes join"
	}
	return flowText(m)
}
