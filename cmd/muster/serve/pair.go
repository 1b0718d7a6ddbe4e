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

// pairRack is what storage machines ask of the registry.
type pairRack interface {
	PairReport(ctx context.Context, mac roles.MAC, key string, h roles.Half) (roles.PairOrders, error)
	PairMade(ctx context.Context, mac roles.MAC, key string) error
	PairFence(ctx context.Context, mac roles.MAC, key string, try bool) error
	PairOutdate(ctx context.Context, mac roles.MAC, key string) error
	PairOf(mac roles.MAC, key string) (pool string, err error)
}

// pairCalls answers storage machines.
type pairCalls struct {
	rack pairRack
	// contents gives what a pair is to have, of which it has the revision has already; vote what it needs to talk to
	// the third vote.
	contents func(pool, has string) pair.Contents
	vote     func(ctx context.Context, pool string) (pair.Vote, error)
	// copies are the backups and restores that somebody waits for.
	copies *copies
}

// Pair implements httpboot.Director.
func (d *director) Pair(ctx context.Context, c agent.PairCall) (any, error) {
	return pairCalls{d.registry, d.contents.orNone, d.bundle, &d.copies}.answer(ctx, c)
}

// answer answers one call. Who may ask is the registry's to say.
func (p pairCalls) answer(ctx context.Context, c agent.PairCall) (any, error) {
	mac, err := roles.ParseMAC(c.MAC)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	none := struct{}{}
	switch c.Op {
	case pair.OpReport:
		return p.report(ctx, mac, c)
	case pair.OpMade:
		return none, p.rack.PairMade(ctx, mac, c.Key)
	case pair.OpFence, pair.OpTry:
		// What has begun is brought to its end, though the caller may be gone by then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pair.FenceTime)
		defer cancel()
		return none, p.rack.PairFence(ctx, mac, c.Key, c.Op == pair.OpTry)
	case pair.OpOutdate:
		return none, p.rack.PairOutdate(ctx, mac, c.Key)
	case pair.OpVote:
		pool, err := p.rack.PairOf(mac, c.Key)
		if err != nil {
			return nil, err
		}
		return p.vote(ctx, pool)
	case pair.OpCopy:
		var piece pair.CopyPiece
		if err := json.Unmarshal(c.Body, &piece); err != nil {
			return nil, fmt.Errorf("a piece of a copy: %w: %w", fs.ErrInvalid, err)
		}
		pool, err := p.rack.PairOf(mac, c.Key)
		if err != nil {
			return nil, err
		}
		return p.copies.word(ctx, pool, mac, piece)
	}
	return nil, fmt.Errorf("a storage machine cannot ask for %q: %w", clip(c.Op), fs.ErrInvalid)
}

// report takes a report and answers with orders.
func (p pairCalls) report(ctx context.Context, mac roles.MAC, c agent.PairCall) (pair.Orders, error) {
	var r pair.Report
	if err := json.Unmarshal(c.Body, &r); err != nil {
		return pair.Orders{}, fmt.Errorf("report of a storage machine: %w: %w", fs.ErrInvalid, err)
	}
	for _, s := range []*string{&r.Why, &r.Carries, &r.Verify} {
		*s = clip(*s)
	}
	r.Errors = r.Errors[:min(len(r.Errors), maxPairErrors)]
	for i := range r.Errors {
		r.Errors[i] = clip(r.Errors[i])
	}
	o, err := p.rack.PairReport(ctx, mac, c.Key, roles.Half(r))
	if err != nil {
		return pair.Orders{}, err
	}
	out := pairOrders(o)
	// One that has lost its slot just now keeps what it has.
	if pool, err := p.rack.PairOf(mac, c.Key); err == nil {
		out.Contents = p.contents(pool, r.Revision)
		out.Copy = p.copies.order(pool, mac)
	}
	return out, nil
}

// maxPairErrors bounds what a half says went wrong.
const maxPairErrors = 20

// pairOrders is o as the machine reads it.
func pairOrders(o roles.PairOrders) pair.Orders {
	return pair.Orders{
		Rule: pair.Rule(o.Rule), Known: o.Known, Make: o.Make, Erase: o.Erase, Format: o.Format, Start: o.Start,
		Outdated: o.Outdated, Promote: o.Promote, Discard: o.Discard, Standby: o.Standby, Verify: o.Verify, Wait: o.Wait,
	}
}
