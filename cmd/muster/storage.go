package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

func (p *program) newStorageCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use: "storage", Short: "storage pairs: status, claim, promote, keep, maintenance, verify, backup, restore",
		Long: "A storage pair is a pool of two machines that replicate one disk; one of them at a time, the active one,\n" +
			"serves it to the other pools. They fail over and come back without a human. These commands show how they\n" +
			"are, and decide what no machine may decide: which data are lost.",
	})
	cmd.AddCommand(p.newStorageStatusCommand(), p.newStorageClaimCommand(), p.newStoragePromoteCommand(),
		p.newStorageKeepCommand(), p.newStorageMaintenanceCommand(), p.newStorageVerifyCommand(),
		p.newStorageBackupCommand(), p.newStorageRestoreCommand())
	return cmd
}

func (p *program) newStorageStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status [POOL]", Short: "how a storage pair is, and what somebody has to do about it",
		Long: "Status shows the storage pairs, or one: first what somebody has to do something about, then who serves, how\n" +
			"far a resync is, who has a vote, whether each machine's power can be cut (without that there is no\n" +
			"failover), when the last failover was, and both halves. Where a human has to decide, it says what differs\n" +
			"and which command decides it.\n\n" +
			"HALF is what a machine does for the pair: active (serves), passive (would take over), ready (waits to be\n" +
			"started), disk (looks for its disk), refused (may not use the disk that it found), maintenance, or silent.\n" +
			"DATA and LINK are DRBD's words for the state of its disk and of the connection.",
		Example: "  muster storage status\n  muster storage status storage --watch",
		Args:    wants("[POOL]"), ValidArgsFunction: p.completeArgs(p.pairNames),
	}
	out := outputFlag(cmd)
	watch := cmd.Flags().BoolP("watch", "w", false, "go on, and show every change (-o json: one line each)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		pool := strings.Join(args, "")
		if *watch {
			return p.watchPairs(cmd.Context(), c, out, pool)
		}
		if pool != "" {
			v, err := c.Pair(cmd.Context(), pool)
			if err != nil {
				return err
			}
			return out.print(p.stdout, v, func(w io.Writer) { printPair(w, v, p.now()) })
		}
		all, err := c.Pairs(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, all, func(w io.Writer) { printPairs(w, all, p.now()) })
	}
	return cmd
}

// watchPairs shows the pairs, or one, until ctx ends: on a terminal always in the same place, elsewhere anew when
// something has changed.
func (p *program) watchPairs(ctx context.Context, c *api.Client, out *output, pool string) error {
	if pool != "" {
		if _, err := c.Pair(ctx, pool); err != nil {
			return err
		}
	}
	c.Patience = patience
	f, ok := p.stdout.(*os.File)
	screen := ok && out.format == "table" && isTerminal(f)
	before := ""
	return c.FollowPairs(ctx, func(all []roles.PairView) error {
		if pool != "" {
			all = slices.DeleteFunc(all, func(v roles.PairView) bool { return v.Pool != pool })
			if len(all) == 0 {
				return fmt.Errorf("%s is no storage pair any more: %w", pool, fs.ErrNotExist)
			}
		}
		if screen {
			return redraw(p.stdout, all, p.now())
		}
		now := lasting(all)
		if now == before {
			return nil
		}
		first := before == ""
		before = now
		return printChange(p.stdout, out.format, all, p.now(), first)
	})
}

// printChange writes the pairs as they are after a change.
func printChange(w io.Writer, format string, all []roles.PairView, now time.Time, first bool) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(all)
	case "yaml":
		b, err := toYAML(all)
		if err == nil {
			_, err = fmt.Fprintf(w, "---\n%s", b)
		}
		return err
	}
	var b bytes.Buffer
	if !first {
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "%s\n\n", stamp(now))
	printPairs(&b, all, now)
	_, err := w.Write(b.Bytes())
	return err
}

// redraw writes the pairs over what stood on the screen.
func redraw(w io.Writer, all []roles.PairView, now time.Time) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, until Ctrl-C\n\n", stamp(now))
	printPairs(&b, all, now)
	// To the top left, each line cleared to its end (ECMA-48 CUP, EL), and what is left below (ED).
	text := strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")
	_, err := io.WriteString(w, "\x1b[H"+text+"\x1b[J")
	return err
}

// lasting is what a change is seen by: all but what changes all the time.
func lasting(all []roles.PairView) string {
	var out []roles.PairView
	for _, v := range all {
		v.Halves = slices.Clone(v.Halves)
		for i := range v.Halves {
			h := &v.Halves[i]
			h.Heard, h.FencingAt, h.Left, h.Used = time.Time{}, time.Time{}, 0, 0
			h.Synced = math.Floor(h.Synced)
		}
		out = append(out, v)
	}
	b, _ := json.Marshal(out) // They came as JSON.
	return string(b)
}

// half finds the half of a pair that an operator names by its slot or the MAC of its machine.
func half(ctx context.Context, c *api.Client, key string) (roles.PairView, roles.HalfView, error) {
	all, err := c.Pairs(ctx)
	if err != nil {
		return roles.PairView{}, roles.HalfView{}, err
	}
	mac, macErr := roles.ParseMAC(key)
	var slots []string
	for _, v := range all {
		for _, h := range v.Halves {
			if h.Slot == key || macErr == nil && h.Node == mac {
				return v, h, nil
			}
			slots = append(slots, h.Slot)
		}
	}
	err = fmt.Errorf("%s is no half of a storage pair: %w", key, fs.ErrNotExist)
	if len(slots) > 0 {
		err = fmt.Errorf("%s is no half of a storage pair (those are %s): %w", key, strings.Join(slots, ", "), fs.ErrNotExist)
	}
	return roles.PairView{}, roles.HalfView{}, err
}

// other is the half that is not slot; zero where there is none.
func other(v roles.PairView, slot string) (h roles.HalfView) {
	for _, o := range v.Halves {
		if o.Slot != slot {
			h = o
		}
	}
	return h
}
