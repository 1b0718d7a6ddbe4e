package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
)

func (p *program) newNodeCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "node", Short: "machines: list, show, assign, replace, restart, power, …"})
	cmd.AddCommand(p.newNodeListCommand(), p.newNodeShowCommand(), p.newNodeBootCommand(), p.newNodeAssignCommand(),
		p.newNodeReleaseCommand(), p.newNodeReplaceCommand(), p.newNodeForgetCommand(), p.newNodePowerCommand(),
		p.newNodeRestartCommand(), p.newNodeSyncCommand(), p.newNodeTraceCommand())
	return cmd
}

func (p *program) newNodeListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the nodes", Args: wants()}
	out := outputFlag(cmd)
	pool := cmd.Flags().String("pool", "", "only the nodes of this pool")
	state := cmd.Flags().String("state", "", "only the nodes in this state: waiting, booting, ready, failed, off or draining")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		nodes, err := c.Nodes(cmd.Context())
		if err != nil {
			return err
		}
		nodes = slices.DeleteFunc(nodes, func(n roles.Node) bool {
			return *pool != "" && n.Pool != *pool || *state != "" && string(n.State) != *state
		})
		next := p.nextBoot(cmd.Context(), c)
		return out.print(p.stdout, nodes, func(w io.Writer) { printNodes(w, nodes, next, p.now()) })
	}
	return cmd
}

// printNodes writes the table: the occupants of slots by slot, then the others by MAC.
func printNodes(w io.Writer, nodes []roles.Node, next nextBoot, now time.Time) {
	if len(nodes) == 0 {
		fmt.Fprintln(w, "no nodes: switch a machine on, and it appears here")
		return
	}
	slices.SortFunc(nodes, func(a, b roles.Node) int {
		if a.Slot == "" || b.Slot == "" {
			return cmp.Or(-cmp.Compare(a.Slot, b.Slot), slices.Compare(a.MAC[:], b.MAC[:]))
		}
		return cmp.Compare(a.Slot, b.Slot)
	})
	g := newGrid("SLOT", "MAC", "POOL", "ADDRESS", "STATE", "SINCE", "IMAGE", "NOTE")
	for _, n := range nodes {
		g.row(n.Slot, n.MAC.String(), n.Pool, addrText(n.Address), string(n.State), age(now, n.Since), next.imageText(n), note(n))
	}
	g.print(w)
}

// note is what a listing says about a node that is not as it should be.
func note(n roles.Node) string {
	switch n.State {
	case roles.StateReady, roles.StateBooting:
		return asked(n)
	}
	return join(n.Why, asked(n))
}

// asked is what a node was asked to do, and has not done yet.
func asked(n roles.Node) string {
	switch {
	case n.Restart != "":
		return "asked to restart: " + n.Restart
	case n.Sync:
		return "asked to fetch its files"
	}
	return ""
}

func (p *program) newNodeShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NODE", Short: "show a node, and why it is in its pool",
		Args: wants("NODE"), ValidArgsFunction: p.completeArgs(p.nodeKeys),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		n, err := c.Node(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		next := p.nextBoot(cmd.Context(), c)
		return out.print(p.stdout, n, func(w io.Writer) { printNode(w, n, next, p.now()) })
	}
	return cmd
}

func printNode(w io.Writer, n roles.Node, next nextBoot, now time.Time) {
	g := newGrid()
	g.field("mac", n.MAC.String())
	g.field("slot", n.Slot)
	g.field("pool", poolText(n))
	g.field("address", addrText(n.Address))
	g.field("state", fmt.Sprintf("%s, since %s (%s)", n.State, stamp(n.Since), age(now, n.Since)))
	g.field("why", n.Why)
	g.field("because", n.Joined)
	for i, m := range n.Match {
		g.row([]string{"match", " "}[min(i, 1)], m)
	}
	if r := n.Replaced; r != nil {
		g.field("replaced", fmt.Sprintf("%s took over %s at %s", r.By, r.Slot, stamp(r.At)))
	}
	g.field("image", imageField(n, next))
	g.field("files", label("revision", n.Files))
	g.field("asked", strings.TrimPrefix(asked(n), "asked "))
	if n.Boot > 0 {
		g.field("boot", fmt.Sprintf("%d (muster node boot %s)", n.Boot, n.MAC))
	}
	if n.Power != nil {
		g.field("power", strings.TrimSpace(n.Power.Driver+" "+n.Power.Target))
	}
	g.field("labels", labelText(n.Labels))
	printFacts(g, n.Facts)
	if !n.FirstSeen.IsZero() {
		g.field("seen", fmt.Sprintf("first %s, last %s (%s ago)", stamp(n.FirstSeen), stamp(n.LastSeen), age(now, n.LastSeen)))
	}
	g.print(w)
}

// imageField is the image that a node runs or ran, and what it gets at its next boot.
func imageField(n roles.Node, next nextBoot) string {
	then := next.of(n)
	switch {
	case then == "" || then == n.Image:
		return n.Image
	case n.Image == "":
		return then + " at its next boot"
	}
	return n.Image + ", " + then + " at its next boot"
}

func poolText(n roles.Node) string {
	switch {
	case n.Pool == "":
		return ""
	case n.Assigned && n.WantSlot != "":
		return n.Pool + " (assigned, to " + n.WantSlot + ")"
	case n.Assigned:
		return n.Pool + " (assigned)"
	}
	return n.Pool + " (by its rule)"
}

// printFacts adds what the machine told of itself.
func printFacts(g *grid, f roles.Facts) {
	g.field("machine", join(f.Manufacturer, f.Product, label("serial", f.Serial), label("asset", f.Asset)))
	g.field("uuid", f.UUID)
	g.field("firmware", join(f.Firmware, f.Arch))
	g.field("relay", join(label("circuit", f.Circuit), label("remote", f.Remote)))
	inv := f.Inventory
	if inv == nil {
		return
	}
	g.field("processor", join(fmt.Sprintf("%d ×", inv.CPUs), cmp.Or(inv.CPU, "unknown")))
	g.field("memory", fmt.Sprintf("%d MiB", inv.Memory))
	for _, c := range inv.NICs {
		g.field("nic", join(c.Name, c.MAC.String(), c.Driver, speedText(c.Speed), linkText(c.Link)))
	}
	for _, d := range inv.Disks {
		g.field("disk", join(d.Name, sizeText(d.Size), d.Model, label("serial", d.Serial)))
	}
}
