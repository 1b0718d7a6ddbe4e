package httpboot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"muster/httpboot/agent"
)

// fixedDirector answers everybody alike and keeps what it was told. A nil function answers with zero.
type fixedDirector struct {
	script func(Machine) (Script, error)
	hello  func(agent.Hello) (agent.Reply, error)
	poll   func(context.Context, agent.Poll) (agent.Reply, error)
	report func(agent.Report) error
	claim  func(agent.Claim) (agent.Claimed, error)
	// present of nil waits for ever.
	present func(context.Context, agent.Present) (agent.NodeOrders, error)
	pair    func(agent.PairCall) (any, error)

	mu       sync.Mutex
	machines []Machine
	hellos   []agent.Hello
	remotes  []netip.Addr
	events   []agent.Event
}

func (d *fixedDirector) Script(_ context.Context, m Machine) (Script, error) {
	d.mu.Lock()
	d.machines = append(d.machines, m)
	d.mu.Unlock()
	if d.script == nil {
		return Script{}, nil
	}
	return d.script(m)
}

func (d *fixedDirector) Hello(_ context.Context, remote netip.Addr, h agent.Hello) (agent.Reply, error) {
	d.mu.Lock()
	d.hellos = append(d.hellos, h)
	d.remotes = append(d.remotes, remote)
	d.mu.Unlock()
	if d.hello == nil {
		return agent.Reply{}, nil
	}
	return d.hello(h)
}

func (d *fixedDirector) Poll(ctx context.Context, p agent.Poll) (agent.Reply, error) {
	if d.poll == nil {
		<-ctx.Done()
		return agent.Reply{}, ctx.Err()
	}
	return d.poll(ctx, p)
}

func (d *fixedDirector) Pair(_ context.Context, c agent.PairCall) (any, error) {
	if d.pair == nil {
		return nil, errors.ErrUnsupported
	}
	return d.pair(c)
}

func (d *fixedDirector) Report(_ context.Context, r agent.Report) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := 0
	if n := len(d.events); n > 0 {
		last = d.events[n-1].Seq
	}
	for _, ev := range r.Events { // repeated ones are dropped, as the contract says
		if ev.Seq > last {
			d.events = append(d.events, ev)
		}
	}
	if d.report == nil {
		return nil
	}
	return d.report(r)
}

// dirImages is a directory with NAME/VERSION/file.
type dirImages string

func (d dirImages) Open(name string, version int, file string) (*os.File, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.Base(name), strconv.Itoa(version), file))
	if err != nil {
		return nil, fmt.Errorf("image %s:%d: %w", name, version, fs.ErrNotExist)
	}
	return f, nil
}

func (d *fixedDirector) Claim(_ context.Context, c agent.Claim) (agent.Claimed, error) {
	if d.claim == nil {
		return agent.Claimed{}, nil
	}
	return d.claim(c)
}

func (d *fixedDirector) Present(ctx context.Context, p agent.Present) (agent.NodeOrders, error) {
	if d.present == nil {
		<-ctx.Done()
		return agent.NodeOrders{}, ctx.Err()
	}
	return d.present(ctx, p)
}
