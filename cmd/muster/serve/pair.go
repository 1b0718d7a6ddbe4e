package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"

	"muster/httpboot/agent"
	"muster/httpboot/agent/pair"
	"muster/roles"
)

// Pair implements httpboot.Director.
func (d *director) Pair(ctx context.Context, c agent.PairCall) (any, error) {
	mac, err := roles.ParseMAC(c.MAC)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	none := struct{}{}
	switch c.Op {
	case pair.OpReport:
		return d.pairReport(ctx, mac, c)
	case pair.OpMade:
		return none, d.registry.PairMade(ctx, mac, c.Key)
	case pair.OpFence, pair.OpTry:
		// The power is cut, and put on again, to the end, though the caller may be gone by then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pair.FenceTime)
		defer cancel()
		return none, d.registry.PairFence(ctx, mac, c.Key, c.Op == pair.OpTry)
	case pair.OpOutdate:
		return none, d.registry.PairOutdate(ctx, mac, c.Key)
	case pair.OpVote:
		p, err := d.pairOf(ctx, mac, c.Key)
		if err != nil {
			return nil, err
		}
		return d.bundle(ctx, p)
	}
	return nil, fmt.Errorf("a storage machine cannot ask for %q: %w", clip(c.Op), fs.ErrInvalid)
}

// pairReport takes a report and answers with orders.
func (d *director) pairReport(ctx context.Context, mac roles.MAC, c agent.PairCall) (pair.Orders, error) {
	var r pair.Report
	if err := json.Unmarshal(c.Body, &r); err != nil {
		return pair.Orders{}, fmt.Errorf("report of a storage machine: %w: %w", fs.ErrInvalid, err)
	}
	o, err := d.registry.PairReport(ctx, mac, c.Key, roles.Half(r))
	if err != nil {
		return pair.Orders{}, err
	}
	out := pairOrders(o)
	n, err := d.registry.Node(mac.String())
	if err != nil {
		return pair.Orders{}, err
	}
	// Orders that keep data safe do not wait for those that nodes wait for.
	if out.Contents, err = d.contents.of(n.Pool); err != nil {
		d.log.Error("what a storage pair is to have is not known", "pool", n.Pool, "err", err)
	}
	return out, nil
}

// pairOrders is o as the machine reads it.
func pairOrders(o roles.PairOrders) pair.Orders {
	return pair.Orders{
		Rule: pair.Rule(o.Rule), Known: o.Known, Make: o.Make, Erase: o.Erase, Format: o.Format, Start: o.Start,
		Outdated: o.Outdated, Promote: o.Promote, Discard: o.Discard, Standby: o.Standby, Verify: o.Verify, Wait: o.Wait,
	}
}

// pairOf gives the storage pair of the node that says so: the error wraps fs.ErrPermission for a key that is not
// that of its latest boot, fs.ErrInvalid for a node that is no half of one.
func (d *director) pairOf(ctx context.Context, mac roles.MAC, key string) (pool string, err error) {
	now, err := d.registry.Node(mac.String())
	if err != nil {
		return "", fmt.Errorf("node %s is not known: %w", mac, fs.ErrPermission)
	}
	n, err := d.registry.Present(ctx, mac, key, now.Files)
	if err != nil {
		return "", err
	}
	p, err := d.registry.Pool(n.Pool)
	if err != nil || p.Pair == nil || n.Slot == "" || n.State == roles.StateDraining {
		return "", fmt.Errorf("node %s is no half of a storage pair: %w", mac, fs.ErrInvalid)
	}
	return p.Name, nil
}
