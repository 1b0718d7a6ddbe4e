package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

// pairChange is a change of a pair: asked for, and how it goes on in a sentence.
type pairChange struct {
	do   func(context.Context, *api.Client) (roles.PairView, error)
	then string
}

// changePair is a command that changes something of the pair of which args[0] is a half.
func (p *program) changePair(cmd *cobra.Command, plan func(cmd *cobra.Command, v roles.PairView, h roles.HalfView, args []string) (pairChange, error)) *cobra.Command {
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		v, h, err := half(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		change, err := plan(cmd, v, h, args)
		if err != nil {
			return err
		}
		after, err := change.do(cmd.Context(), c)
		if err != nil {
			return err
		}
		return out.print(p.stdout, after, func(w io.Writer) {
			fmt.Fprintf(w, "%s (muster storage status %s --watch)\n", printable(change.then), v.Pool)
		})
	}
	return cmd
}

const yesHelp = "do not ask for the slot's name: what is lost is known"

func (p *program) newStorageClaimCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "claim NODE --disk SERIAL --erase", Short: "give a disk that carries something to a storage pair, and erase it",
		Long: "Claim gives a disk to a half of a storage pair, with all that is on it: it is erased, and takes the data of\n" +
			"the other half. A pair takes blank disks by itself; this is for one that carries something (a partition\n" +
			"table, a file system, …), which it never touches unasked. The disk is the one that muster storage status\n" +
			"shows for the half; a disk with data that the pair itself needs is not taken.\n\n" +
			"It says what is on the disk and asks for the slot's name, unless --yes is given.",
		Example: "  muster storage claim storage-02 --disk WD-WX31A --erase",
		Args:    wants("NODE"), ValidArgsFunction: p.completeArgs(p.pairSlots),
	}
	disk := cmd.Flags().String("disk", "", "serial number (or device) of the disk; required")
	erase := cmd.Flags().Bool("erase", false, "erase all that is on the disk; required")
	yes := cmd.Flags().Bool("yes", false, yesHelp)
	if err := cmd.RegisterFlagCompletionFunc("disk", p.completeFlag(p.pairDisks)); err != nil {
		panic(err) // The flag was added above.
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch err := wants("NODE")(cmd, args); {
		case err != nil:
			return err
		case *disk == "":
			return usageError{cmd, errors.New("--disk is missing: the serial number of the disk that is erased")}
		case !*erase:
			return usageError{cmd, errors.New("--erase is missing: all that is on the disk is lost")}
		}
		return nil
	}
	return p.changePair(cmd, func(cmd *cobra.Command, v roles.PairView, h roles.HalfView, _ []string) (pairChange, error) {
		lost, err := claimText(v, h, *disk)
		if err != nil {
			return pairChange{}, err
		}
		return pairChange{
			do: func(ctx context.Context, c *api.Client) (roles.PairView, error) {
				return c.ClaimDisk(ctx, v.Pool, api.ClaimRequest{Slot: h.Slot, Disk: *disk, Confirm: h.Slot})
			},
			then: fmt.Sprintf("%s: the disk %s is the pair's; it is erased and filled", h.Slot, *disk),
		}, p.confirm(cmd.Context(), *yes, h.Slot, lost...)
	})
}

// claimText says what is lost by giving a disk to a half. The question would be a lie if the half had another one.
func claimText(v roles.PairView, h roles.HalfView, disk string) ([]string, error) {
	if h.Serial == "" && h.Disk == "" {
		return nil, fmt.Errorf("%s reports no disk (is the machine on? does pair.disk of the pool find one?): %w", h.Slot, fs.ErrInvalid)
	}
	if disk != h.Serial && disk != h.Disk {
		return nil, fmt.Errorf("%s reports the disk %s, not %s: %w", h.Slot, diskName(h), disk, fs.ErrInvalid)
	}
	then := fmt.Sprintf("Then it takes the data of %s.", other(v, h.Slot).Slot)
	if v.Made.IsZero() {
		then = "Then it is a disk of the new pair."
	}
	return []string{
		fmt.Sprintf("%s: the disk %s carries %s.", h.Slot, diskName(h), cmp.Or(h.Carries, "nothing that is known here")),
		"All that is on it is erased, and cannot be had back. " + then,
	}, nil
}

func (p *program) newStoragePromoteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "promote NODE", Short: "make a storage pair go on with one half alone; what only the other has is lost",
		Long: "Promote makes a pair go on with the data of one half, without the other one. It is for a half that is up\n" +
			"alone after both were down: it waits, since it cannot know whether the other one has newer data. When the\n" +
			"other machine can still be switched on, do that instead: nothing is lost then.\n\n" +
			"The other machine is switched off first. Where its power driver cannot do that, see to it by hand (pull\n" +
			"the plug), and say so with --peer-is-off: two machines that serve the same data destroy them.\n\n" +
			"It says what is lost and asks for the slot's name, unless --yes is given.",
		Example: "  muster storage promote storage-01",
		Args:    wants("NODE"), ValidArgsFunction: p.completeArgs(p.pairSlots),
	}
	yes := cmd.Flags().Bool("yes", false, yesHelp)
	off := cmd.Flags().Bool("peer-is-off", false, "I have made sure that the other machine is off: do not try to switch it off")
	return p.changePair(cmd, func(cmd *cobra.Command, v roles.PairView, h roles.HalfView, _ []string) (pairChange, error) {
		peer := other(v, h.Slot)
		lost := []string{
			fmt.Sprintf("%s goes on alone with the data that it has (%s).", h.Slot, cmp.Or(h.DiskState, "of which nothing is known here")),
			lossText(v, h.Slot, p.now()),
			fmt.Sprintf("%s is switched off first. When it returns, it takes the data of %s.", peer.Slot, h.Slot),
		}
		if *off {
			lost[2] = fmt.Sprintf("You say that %s is off: if it is not, both serve, and the data of both are in danger.", peer.Slot)
		}
		return pairChange{
			do: func(ctx context.Context, c *api.Client) (roles.PairView, error) {
				return c.PromoteHalf(ctx, v.Pool, api.PromoteRequest{Slot: h.Slot, Off: *off, Confirm: h.Slot})
			},
			then: h.Slot + ": goes on alone",
		}, p.confirm(cmd.Context(), *yes, h.Slot, lost...)
	})
}

func (p *program) newStorageKeepCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keep NODE", Short: "decide a split: the data of this half stay, the other's are discarded",
		Long: "Keep decides a split, which is when both halves were written while they did not see each other. The data of\n" +
			"the half that is named stay; what the other one wrote since they parted is discarded, and it takes the\n" +
			"data of the first. With working fencing there is no split; muster storage status says when there is one.\n\n" +
			"It says what is lost and asks for the slot's name, unless --yes is given.",
		Example: "  muster storage keep storage-01",
		Args:    wants("NODE"), ValidArgsFunction: p.completeArgs(p.pairSlots),
	}
	yes := cmd.Flags().Bool("yes", false, yesHelp)
	return p.changePair(cmd, func(cmd *cobra.Command, v roles.PairView, h roles.HalfView, _ []string) (pairChange, error) {
		now, peer := p.now(), other(v, h.Slot)
		if v.State != roles.PairSplit {
			return pairChange{}, fmt.Errorf("%s is not split (it is %s): there is nothing to decide: %w", v.Pool, headline(v), fs.ErrInvalid)
		}
		return pairChange{
				do: func(ctx context.Context, c *api.Client) (roles.PairView, error) {
					return c.KeepHalf(ctx, v.Pool, api.KeepRequest{Slot: h.Slot, Confirm: h.Slot})
				},
				then: fmt.Sprintf("%s: its data stay, %s takes them", h.Slot, peer.Slot),
			}, p.confirm(cmd.Context(), *yes, h.Slot,
				fmt.Sprintf("The data of %s stay: %s.", h.Slot, sideText(v, h, now)),
				fmt.Sprintf("Those of %s are discarded: %s.", peer.Slot, sideText(v, peer, now)),
				partedText(v, now),
				fmt.Sprintf("All that %s wrote since then is lost, and cannot be had back.", peer.Slot))
	})
}

func (p *program) newStorageMaintenanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "maintenance NODE on|off", Short: "take a half of a storage pair out of service, or back",
		Long: "Maintenance takes a half out of service, so that its machine may be switched off: if it is the active one,\n" +
			"the other takes over, which its nodes notice as a pause of seconds. It still replicates while it is on.\n" +
			"It asks for the slot's name where the other half cannot take over, unless --yes is given.",
		Example: "  muster storage maintenance storage-01 on",
		Args:    wants("NODE", "on|off"), ValidArgsFunction: p.completeArgs(p.pairSlots, onOrOff),
	}
	yes := cmd.Flags().Bool("yes", false, "do not ask, also when the pair stops serving by it")
	return p.changePair(cmd, func(cmd *cobra.Command, v roles.PairView, h roles.HalfView, args []string) (pairChange, error) {
		on := args[1] == "on"
		if !on && args[1] != "off" {
			return pairChange{}, usageError{cmd, fmt.Errorf("%q is neither on nor off", args[1])}
		}
		change := pairChange{
			do: func(ctx context.Context, c *api.Client) (roles.PairView, error) {
				return c.MaintainHalf(ctx, v.Pool, api.MaintenanceRequest{Slot: h.Slot, On: on})
			},
			then: h.Slot + map[bool]string{true: ": in maintenance", false: ": in service again"}[on],
		}
		peer := other(v, h.Slot)
		if why := unfit(v, peer, p.now()); on && h.Active && why != "" {
			return change, p.confirm(cmd.Context(), *yes, h.Slot,
				fmt.Sprintf("%s serves, and %s cannot take over: %s.", h.Slot, peer.Slot, why),
				fmt.Sprintf("The nodes that mount from %s stand still until a half is in service again.", v.Pool))
		}
		return change, nil
	})
}

// unfit is why a half could not take over now; "" when it could.
func unfit(v roles.PairView, h roles.HalfView, now time.Time) string {
	switch {
	case silent(h, now):
		return "it is silent"
	case standby(v, h.Slot):
		return "it is in maintenance"
	case h.Phase != roles.PhaseCluster:
		return "it is not in the cluster"
	case h.DiskState != "UpToDate":
		return "its data are " + cmp.Or(h.DiskState, "not known")
	}
	return ""
}

func (p *program) newStorageVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify POOL", Short: "compare both disks of a storage pair, block by block, while it serves",
		Long: "Verify has DRBD compare both disks while the pair serves. It takes as long as reading them; muster storage\n" +
			"status shows the outcome.",
		Args: wants("POOL"), ValidArgsFunction: p.completeArgs(p.pairNames),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		v, err := c.VerifyPair(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out.print(p.stdout, v, func(w io.Writer) {
			fmt.Fprintf(w, "%s: both disks are compared (muster storage status %s --watch)\n", printable(v.Pool), printable(v.Pool))
		})
	}
	return cmd
}

func onOrOff(context.Context, *api.Client) []string { return []string{"on", "off"} }
