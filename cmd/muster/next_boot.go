package main

import (
	"context"
	"errors"
	"io/fs"

	"muster/images"
	"muster/roles"
	"muster/roles/api"
)

// nextBoot tells which image each pool's nodes get when they boot next.
type nextBoot struct{ pools []nextImage }

// nextImage is that of one pool.
type nextImage struct {
	pool string
	// name is the image without its version, image with it; "" where there is none.
	name, image string
	// pinned says that the pool names a version, and keeps to it whatever is current.
	pinned bool
	// rollout is the one that goes on; zero for none. Each node boots then what it says, whatever is current.
	rollout roles.Rollout
}

// nextImages asks the server for what the answer is made of: the pools' pins and rollouts, and the current
// versions of the images of their roles.
func nextImages(ctx context.Context, c *api.Client) (nextBoot, error) {
	pools, err := c.Pools(ctx)
	if err != nil {
		return nextBoot{}, err
	}
	all, err := c.Roles(ctx)
	if err != nil {
		return nextBoot{}, err
	}
	names := map[string]string{}
	for _, r := range all {
		names[r.Name] = r.ImageName()
	}
	published, err := c.ListImages(ctx)
	if err != nil {
		return nextBoot{}, err
	}
	current := map[string]string{}
	for _, im := range published {
		if im.Current {
			current[im.Ref.Name] = im.Ref.String()
		}
	}
	var out nextBoot
	for _, p := range pools {
		ref := images.Ref{Name: names[p.Role]}
		if p.Image != "" {
			// It was checked when it was declared.
			ref, _ = images.ParseRef(p.Image)
		}
		n := nextImage{pool: p.Name, name: ref.Name, image: current[ref.Name], pinned: ref.Version != 0}
		if n.pinned {
			n.image = ref.String()
		}
		if r, err := c.Rollout(ctx, p.Name); err == nil && r.Ended.IsZero() {
			n.rollout = r
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nextBoot{}, err
		}
		out.pools = append(out.pools, n)
	}
	return out, nil
}

// nextBoot is nextImages for a listing, which says less where that fails.
func (p *program) nextBoot(ctx context.Context, c *api.Client) nextBoot {
	b, _ := nextImages(ctx, c)
	return b
}

// of is what a node gets at its next boot; "" when that is not known.
func (b nextBoot) of(n roles.Node) string {
	for _, p := range b.pools {
		if p.pool == n.Pool {
			return p.of(n.Slot)
		}
	}
	return ""
}

func (i nextImage) of(slot string) string {
	r := i.rollout
	if r.Started.IsZero() {
		return i.image
	}
	for _, s := range r.Slots {
		if s.Name == slot && r.State == roles.RolloutRunning && (s.State == slotRestarting || s.State == "done") {
			return r.Image.String()
		}
	}
	return r.From.String()
}

// runs is the image that a node runs now; "" for one that runs none.
func runs(n roles.Node) string {
	switch n.State {
	case roles.StateReady, roles.StateBooting, roles.StateFailed, roles.StateDraining:
		return n.Image
	}
	return ""
}

// imageText is what a node runs, and what it will after a restart where that differs.
func (b nextBoot) imageText(n roles.Node) string {
	now, next := runs(n), b.of(n)
	if now == "" || next == "" || now == next {
		return now
	}
	return now + " → " + next
}
