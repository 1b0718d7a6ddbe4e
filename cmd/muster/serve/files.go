package serve

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"

	"muster/httpboot/agent"
	"muster/roles"
)

// files puts a node's files into its spec, except for those with a secret: the node claims them.
func (s *server) files(ctx context.Context, spec *agent.Spec, o roles.Orders, net network) error {
	f, err := s.registry.Files(ctx, o.Slot.Name, o.Image.Ref.String())
	if err != nil {
		return err
	}
	spec.Secure = "https://" + netip.AddrPortFrom(net.Server, s.securePort()).String()
	spec.Revision = f.Revision
	spec.Files = agentFiles(f.Files, func(f roles.NodeFile) bool { return !f.Secret })
	return nil
}

// agentFiles gives the files that are wanted as the agent reads them.
func agentFiles(all []roles.NodeFile, wanted func(roles.NodeFile) bool) (out []agent.File) {
	for _, f := range all {
		if wanted(f) {
			out = append(out, agent.File{Path: f.Path, Mode: uint32(f.Mode), Owner: f.Owner, Content: f.Content, Reload: f.Reload, Secret: f.Secret})
		}
	}
	return out
}

// Claim implements httpboot.Director.
func (d *director) Claim(ctx context.Context, c agent.Claim) (agent.Claimed, error) {
	mac, err := roles.ParseMAC(c.MAC)
	if err != nil {
		return agent.Claimed{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	o, err := d.registry.Claim(ctx, mac, c.Token, c.Key)
	if err != nil {
		return agent.Claimed{}, err
	}
	f, err := d.registry.Files(ctx, o.Slot.Name, o.Image.Ref.String())
	if err != nil {
		return agent.Claimed{}, err
	}
	return agent.Claimed{Files: agentFiles(f.Files, func(f roles.NodeFile) bool { return f.Secret })}, nil
}

// Present implements httpboot.Director.
func (d *director) Present(ctx context.Context, p agent.Present) (agent.NodeOrders, error) {
	mac, err := roles.ParseMAC(p.MAC)
	if err != nil {
		return agent.NodeOrders{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	for {
		n, err := d.registry.Present(ctx, mac, p.Key, p.Revision)
		if err != nil {
			return agent.NodeOrders{}, err
		}
		// Only now is it known who says so.
		for _, e := range p.Errors {
			d.log.Warn("node could not do all that it was told", "mac", mac, "err", clip(e))
		}
		p.Errors = nil // told
		switch {
		case n.Restart != "":
			return agent.NodeOrders{Restart: n.Restart}, nil
		case n.Sync:
			o, same, err := d.sync(ctx, n, p.Revision)
			if err != nil || !same {
				return o, err
			}
		}
		if ctx.Err() != nil {
			return agent.NodeOrders{}, nil
		}
		d.pause(ctx)
	}
}

// sync gives a node its files, or notes that it has them.
func (d *director) sync(ctx context.Context, n roles.Node, revision string) (o agent.NodeOrders, same bool, err error) {
	f, err := d.registry.Files(ctx, n.Slot, n.Image)
	if err != nil {
		return o, false, err
	}
	if f.Revision == revision {
		return o, true, d.registry.Synced(context.WithoutCancel(ctx), n.MAC)
	}
	return agent.NodeOrders{Revision: f.Revision, Files: agentFiles(f.Files, func(roles.NodeFile) bool { return true })}, false, nil
}
