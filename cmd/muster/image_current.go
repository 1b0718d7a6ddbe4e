package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"muster/images"
	"muster/roles"
	"muster/roles/api"
)

func (p *program) newImagePublishCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "publish IMAGE:VERSION", Short: "make a version the current one: what nodes get at their next boot",
		Long: "Publish makes a version the one that the image's name alone means. Nodes run what they run until they\n" +
			"restart; pools that are pinned to a version keep to it. To restart a pool's nodes one by one, and go back\n" +
			"when one fails, use muster pool rollout.",
		Args: wants("IMAGE:VERSION"), ValidArgsFunction: p.completeArgs(p.imageNames),
	}
	return p.switchImage(cmd, func(ctx context.Context, c *api.Client, ref images.Ref) (images.Image, error) {
		if ref.Version == 0 {
			return images.Image{}, usageError{cmd, fmt.Errorf("%s names no version: want %s:N", ref, ref)}
		}
		return c.PublishImage(ctx, ref)
	})
}

func (p *program) newImageRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback IMAGE", Short: "make the version current that was current before",
		Args: wants("IMAGE"), ValidArgsFunction: p.completeArgs(p.imageBareNames),
	}
	return p.switchImage(cmd, func(ctx context.Context, c *api.Client, ref images.Ref) (images.Image, error) {
		if ref.Version != 0 {
			return images.Image{}, usageError{cmd, fmt.Errorf("%s names a version: want %s; to make %s current: muster image publish %s", ref, ref.Name, ref, ref)}
		}
		return c.RollbackImage(ctx, ref.Name)
	})
}

// switchImage is a command that changes which version is current, and says who runs what then.
func (p *program) switchImage(cmd *cobra.Command, do func(context.Context, *api.Client, images.Ref) (images.Image, error)) *cobra.Command {
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ref, err := images.ParseRef(args[0])
		if err != nil {
			return usageError{cmd, err}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		before, err := c.Image(cmd.Context(), images.Ref{Name: ref.Name})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		im, err := do(cmd.Context(), c, ref)
		if err != nil {
			return err
		}
		nodes, err := c.Nodes(cmd.Context())
		if err != nil {
			return err
		}
		next, err := nextImages(cmd.Context(), c)
		if err != nil {
			return err
		}
		return out.print(p.stdout, im, func(w io.Writer) { printSwitch(w, before, im, nodes, next) })
	}
	return cmd
}

// printSwitch says what is current now, what runs until a restart, and which pools stay as they are.
func printSwitch(w io.Writer, before, now images.Image, nodes []roles.Node, next nextBoot) {
	switch before.Ref {
	case now.Ref:
		fmt.Fprintf(w, "%s is current, as it was before\n", now.Ref)
	case images.Ref{}:
		fmt.Fprintf(w, "%s is current\n", now.Ref)
	default:
		fmt.Fprintf(w, "%s is current (before: %s)\n", now.Ref, before.Ref)
	}
	for _, pool := range next.pools {
		if pool.name != now.Ref.Name {
			continue
		}
		if pool.pinned {
			fmt.Fprintf(w, "pool %s keeps to %s, to which it is pinned\n", pool.pool, pool.image)
			continue
		}
		for _, g := range byImage(nodes, pool.pool) {
			if g.image != now.Ref.String() {
				fmt.Fprintf(w, "%s of pool %s until restarted: %s (one by one: muster pool rollout %s --image %s)\n",
					verb(len(g.nodes), "node", "runs "+g.image, "run "+g.image), pool.pool, strings.Join(g.nodes, ", "), pool.pool, now.Ref)
			}
		}
	}
}

// running are the nodes that run one image.
type running struct {
	image string
	nodes []string
}

// byImage sorts the nodes of a pool by what they run.
func byImage(nodes []roles.Node, pool string) (out []running) {
	for _, n := range nodes {
		image := runs(n)
		if n.Pool != pool || image == "" {
			continue
		}
		i := slices.IndexFunc(out, func(r running) bool { return r.image == image })
		if i < 0 {
			i, out = len(out), append(out, running{image: image})
		}
		out[i].nodes = append(out[i].nodes, nodeName(n))
	}
	return out
}

// verb is "1 node runs" or "3 nodes run".
func verb(n int, noun, one, many string) string {
	if n == 1 {
		return plural(n, noun) + " " + one
	}
	return plural(n, noun) + " " + many
}

// nodeName is how people call a node: by its slot, if it has one.
func nodeName(n roles.Node) string {
	if n.Slot != "" {
		return n.Slot
	}
	return n.MAC.String()
}
