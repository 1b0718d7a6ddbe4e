package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"muster/roles/api"
)

// completeWait bounds how long the shell waits for words.
const completeWait = 2 * time.Second

// words gives what an argument may be; nothing when the server does not answer.
type words func(context.Context, *api.Client) []string

// completeArgs completes the arguments of a command, each with its own words.
func (p *program) completeArgs(args ...words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := p.client(cmd)
		if err != nil || len(given) >= len(args) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
		defer cancel()
		return args[len(given)](ctx, c), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag.
func (p *program) completeFlag(of words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, to string) ([]string, cobra.ShellCompDirective) {
		return p.completeArgs(of)(cmd, nil, to)
	}
}

// leaseKeys are the addresses of leases, with their holders as descriptions.
func (p *program) leaseKeys(ctx context.Context, c *api.Client) (out []string) {
	leases, _ := c.Leases(ctx, api.LeaseQuery{})
	for _, l := range leases {
		out = append(out, cobra.CompletionWithDesc(l.Address.String(), join(macText(l.MAC), l.Hostname, l.State)))
	}
	return out
}

// nodeKeys are slots with their MACs as descriptions, and the MACs of nodes that have none.
func (p *program) nodeKeys(ctx context.Context, c *api.Client) (out []string) {
	nodes, _ := c.Nodes(ctx)
	for _, n := range nodes {
		if n.Slot == "" {
			out = append(out, cobra.CompletionWithDesc(n.MAC.String(), string(n.State)))
			continue
		}
		out = append(out, cobra.CompletionWithDesc(n.Slot, n.MAC.String()+" "+string(n.State)))
	}
	return out
}

func (p *program) poolNames(ctx context.Context, c *api.Client) (out []string) {
	pools, _ := c.Pools(ctx)
	for _, s := range pools {
		out = append(out, s.Name)
	}
	return out
}

func (p *program) slotNames(ctx context.Context, c *api.Client) (out []string) {
	slots, _ := c.Slots(ctx)
	for _, s := range slots {
		if s.Node.IsZero() {
			out = append(out, s.Name)
		}
	}
	return out
}

func (p *program) roleNames(ctx context.Context, c *api.Client) (out []string) {
	rs, _ := c.Roles(ctx)
	for _, r := range rs {
		out = append(out, cobra.CompletionWithDesc(r.Name, r.Description))
	}
	return out
}

// imageBareNames are images without their versions.
func (p *program) imageBareNames(ctx context.Context, c *api.Client) (out []string) {
	ims, _ := c.ListImages(ctx)
	for _, im := range ims {
		if !slices.Contains(out, im.Ref.Name) {
			out = append(out, im.Ref.Name)
		}
	}
	return out
}

func (p *program) imageNames(ctx context.Context, c *api.Client) (out []string) {
	ims, _ := c.ListImages(ctx)
	for _, im := range ims {
		out = append(out, im.Ref.String())
	}
	return out
}

// importPrefixes are what begins the name of something to import.
func importPrefixes(context.Context, *api.Client) (out []string) {
	for _, k := range importKinds {
		out = append(out, k.name+":")
	}
	return out
}

// secretKeys are the secrets that there are.
func (p *program) secretKeys(ctx context.Context, c *api.Client) (out []string) {
	all, _ := c.Secrets(ctx)
	for _, s := range all {
		out = append(out, cobra.CompletionWithDesc(s.Key, string(s.Kind)))
	}
	return out
}

func (p *program) pairNames(ctx context.Context, c *api.Client) (out []string) {
	pairs, _ := c.Pairs(ctx)
	for _, v := range pairs {
		out = append(out, cobra.CompletionWithDesc(v.Pool, v.State))
	}
	return out
}

// pairSlots are the halves of the storage pairs.
func (p *program) pairSlots(ctx context.Context, c *api.Client) (out []string) {
	pairs, _ := c.Pairs(ctx)
	for _, v := range pairs {
		for _, h := range v.Halves {
			out = append(out, cobra.CompletionWithDesc(h.Slot, doing(v, h, p.now())))
		}
	}
	return out
}

// pairDisks are the serial numbers of the disks that their halves may not use.
func (p *program) pairDisks(ctx context.Context, c *api.Client) (out []string) {
	pairs, _ := c.Pairs(ctx)
	for _, v := range pairs {
		for _, h := range v.Halves {
			if h.Carries != "" {
				out = append(out, cobra.CompletionWithDesc(cmp.Or(h.Serial, h.Disk), h.Slot+": "+h.Carries))
			}
		}
	}
	return out
}
