package roles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
)

// versions is a catalog with versions 1 to newest of every image. Those in broken never become ready.
type versions struct {
	newest, current int
	broken          map[int]bool
}

func (v *versions) Find(ref images.Ref) (images.Image, error) {
	if ref.Version == 0 {
		ref.Version = v.current
	}
	if ref.Version > v.newest {
		return images.Image{}, fmt.Errorf("image %s is not there: %w", ref, fs.ErrNotExist)
	}
	return images.Image{Ref: ref, Kernel: kernel, Current: ref.Version == v.current}, nil
}

// fleet is a rack with one pool, whose nodes serve with web:1, and whose machines answer what they are asked.
type fleet struct {
	*rack
	images *versions
	power  *switches
	rec    *roles.Reconciler
	dead   map[roles.MAC]bool // they do not pass their check, whatever they run
	mute   map[roles.MAC]bool // their own agents do not speak
	last   map[roles.MAC]time.Time
}

const fleetYAML = `
roles: [{name: web, health: {http: {}}}]
pools: [{name: web, role: web, size: {min: %d, max: 20}, addresses: 10.77.0.20-10.77.0.69, match: {arch: [x86_64]}%s}]
`

func newFleet(t *testing.T, nodes, least int) *fleet {
	f := &fleet{rack: newRack(t), images: &versions{newest: 3, current: 1, broken: map[int]bool{}}, power: &switches{on: map[string]bool{}},
		dead: map[roles.MAC]bool{}, mute: map[roles.MAC]bool{}, last: map[roles.MAC]time.Time{}}
	f.Images = f.images
	f.Power, f.DefaultPower = map[string]roles.Driver{"test": f.power}, "test"
	f.rec = &roles.Reconciler{Registry: f.Registry, Checker: f}
	f.size(least, "")
	for i := range nodes {
		f.powerOn(mac(i + 1))
	}
	f.pass(1)
	for i := range nodes {
		f.wantNode(mac(i+1).String(), fmt.Sprintf("web-%02d", i+1), roles.StateReady)
	}
	return f
}

// size declares the pool again.
func (f *fleet) size(least int, more string) {
	f.t.Helper()
	f.declare(fmt.Sprintf(fleetYAML, least, more))
}

// Check implements roles.Checker.
func (f *fleet) Check(_ context.Context, _ roles.Health, n roles.Node) error {
	ref, _ := images.ParseRef(n.Image)
	if f.dead[n.MAC] || f.images.broken[ref.Version] {
		return errRefused
	}
	return nil
}

// pass lets the reconciler look so many times; the agents of the nodes that serve speak.
func (f *fleet) pass(rounds int) {
	f.t.Helper()
	for range rounds {
		f.now = f.now.Add(6 * time.Second)
		nodes, _ := f.Nodes()
		for _, n := range nodes {
			if b, err := f.Boot(n.MAC.String(), 0); err == nil && (b.Ready || b.Step == roles.StepSwitchRoot) && !f.mute[n.MAC] {
				f.NoteAgent(n.MAC, f.now)
			}
		}
		if err := f.rec.Pass(f.t.Context(), f.last); err != nil {
			f.t.Fatal(err)
		}
	}
}

// asked gives the slots whose nodes are asked to restart.
func (f *fleet) asked() string {
	nodes, _ := f.Nodes()
	var out []string
	for _, n := range nodes {
		if n.Restart != "" {
			out = append(out, n.Slot)
		}
	}
	return strings.Join(out, " ")
}

// obey lets every machine boot that was asked to restart, or whose power was cut.
func (f *fleet) obey() {
	f.t.Helper()
	nodes, _ := f.Nodes()
	for _, n := range nodes {
		b, _ := f.Boot(n.MAC.String(), 0)
		if n.Restart != "" && !f.mute[n.MAC] || b.Step == roles.StepPower && b.Ended.IsZero() {
			f.powerOn(n.MAC)
		}
	}
}

func (f *fleet) start(o roles.RolloutOptions) roles.Rollout {
	f.t.Helper()
	ro, err := f.StartRollout(f.t.Context(), "web", o)
	if err != nil {
		f.t.Fatal(err)
	}
	return ro
}

func (f *fleet) rollout() roles.Rollout {
	f.t.Helper()
	ro, err := f.Rollout("web")
	if err != nil {
		f.t.Fatal(err)
	}
	return ro
}

// wantRollout compares the state of the rollout, those of its slots and, where why is not empty, part of Why.
func (f *fleet) wantRollout(state roles.RolloutState, slots, why string) {
	f.t.Helper()
	ro := f.rollout()
	var got []string
	for _, s := range ro.Slots {
		got = append(got, s.State)
	}
	if ro.State != state || strings.Join(got, " ") != slots || !strings.Contains(ro.Why, why) {
		f.t.Fatalf("rollout is %s with %v: %q; want %s with %s: %q", ro.State, got, ro.Why, state, slots, why)
	}
	if (ro.State == roles.RolloutRunning || ro.State == roles.RolloutRollingBack) != ro.Ended.IsZero() {
		f.t.Errorf("%s, and ended %s", ro.State, ro.Ended)
	}
}

// finish lets the machines and the reconciler work until the rollout has ended.
func (f *fleet) finish() roles.Rollout {
	f.t.Helper()
	for range 50 {
		f.obey()
		f.pass(1)
		if ro := f.rollout(); !ro.Ended.IsZero() {
			return ro
		}
	}
	f.t.Fatalf("the rollout does not end: %+v", f.rollout())
	return roles.Rollout{}
}

// wantImages compares what the nodes run, by slot, and what the pool is pinned to.
func (f *fleet) wantImages(pin string, runs ...string) {
	f.t.Helper()
	p, err := f.Pool("web")
	if err != nil {
		f.t.Fatal(err)
	}
	if p.Image != pin {
		f.t.Errorf("the pool is pinned to %q, want %q", p.Image, pin)
	}
	for i, want := range runs {
		if n := f.node(p.SlotName(i + 1)); n.Image != want || n.State != roles.StateReady {
			f.t.Errorf("%s is %s with %s, want ready with %s", n.Slot, n.State, n.Image, want)
		}
	}
}

var web2 = images.Ref{Name: "web", Version: 2}

func TestRollout(t *testing.T) {
	f := newFleet(t, 4, 2)
	ro := f.start(roles.RolloutOptions{Image: web2, Batch: 2})
	if ro.From.String() != "web:1" || ro.Image != web2 || ro.Canary != 1 || ro.Timeout.String() != "10m0s" || len(ro.Slots) != 4 {
		t.Errorf("rollout %+v", ro)
	}
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "restarting pending pending pending", "waits for web-01 to be ready with web:2")
	if n := f.wantNode("web-01", "web-01", roles.StateBooting); n.Restart != "rollout web:1 → web:2" || f.asked() != "web-01" {
		t.Errorf("asked to restart: %s: %q", f.asked(), n.Restart)
	}
	// It is checked no more, and nobody may take its place.
	f.dead[mac(1)] = true
	f.pass(5)
	f.wantNode("web-01", "web-01", roles.StateBooting)
	if _, o := f.powerOn(mac(9)); o.Slot == nil || o.Slot.Name != "web-05" || o.Image.Ref.String() != "web:1" {
		t.Errorf("a machine that joins got %+v", o)
	}
	f.dead[mac(1)] = false
	// A node that restarts by itself while the rollout goes on runs what it ran.
	if _, o := f.powerOn(mac(3)); o.Image.Ref.String() != "web:1" {
		t.Errorf("web-03 boots %s", o.Image.Ref)
	}
	f.obey()
	if n := f.node("web-01"); n.Restart != "" || n.Image != "web:2" {
		t.Errorf("node %+v", n)
	}
	if b, _ := f.Boot("web-01", 0); b.Events[0].Message != "restarted: rollout web:1 → web:2" || b.Events[0].Step != roles.StepOperator {
		t.Errorf("timeline %+v", b.Events)
	}
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "done restarting restarting pending pending", "web-02, web-03")
	if got := f.finish(); got.State != roles.RolloutDone || got.Why != "" {
		t.Errorf("rollout %+v", got)
	}
	f.wantImages("web:2", "web:2", "web:2", "web:2", "web:2", "web:2")
	if len(f.power.off) > 0 {
		t.Errorf("the power of %v was cut", f.power.off)
	}
	// Back with one command, two at once from the beginning.
	ro, err := f.RollbackPool(t.Context(), "web")
	if err != nil || ro.From != web2 || ro.Image.String() != "web:1" || ro.Batch != 2 {
		t.Fatalf("rollback %+v, %v", ro, err)
	}
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "restarting restarting pending pending pending", "")
	f.finish()
	f.wantImages("web:1", "web:1", "web:1", "web:1", "web:1", "web:1")
	// What was taken back stays back.
	if _, err := f.RollbackPool(t.Context(), "web"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "already") {
		t.Errorf("rollback of a rollback: %v", err)
	}
}

// A way back that failed is tried again, and not turned into a way forward.
func TestRollbackFails(t *testing.T) {
	f := newFleet(t, 2, 1)
	f.start(roles.RolloutOptions{Image: web2, Timeout: roles.Duration(30 * time.Second)})
	f.finish()
	f.images.broken[1] = true
	if ro, err := f.RollbackPool(t.Context(), "web"); err != nil || !ro.Back {
		t.Fatalf("rollback %+v, %v", ro, err)
	}
	if got := f.finish(); got.State != roles.RolloutRolledBack {
		t.Fatalf("rollback %+v", got)
	}
	f.images.broken[1] = false
	if ro, err := f.RollbackPool(t.Context(), "web"); err != nil || ro.Image.String() != "web:1" {
		t.Errorf("rollback %+v, %v", ro, err)
	}
}

// What is current is no pin: a pool that follows it goes on to do that.
func TestRolloutToTheCurrentVersion(t *testing.T) {
	f := newFleet(t, 2, 1)
	f.images.current = 2
	if ro := f.start(roles.RolloutOptions{}); ro.From.String() != "web:1" || ro.Image != web2 {
		t.Fatalf("rollout %+v", ro)
	}
	if _, o := f.powerOn(mac(2)); o.Image.Ref.String() != "web:1" {
		t.Errorf("a node that restarts before its turn boots %s", o.Image.Ref)
	}
	f.finish()
	f.wantImages("", "web:2", "web:2")
	if _, err := f.StartRollout(t.Context(), "web", roles.RolloutOptions{}); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "nothing would change") {
		t.Errorf("again: %v", err)
	}
	f.images.current = 3
	ro, err := f.RollbackPool(t.Context(), "web")
	if err != nil || ro.Image.String() != "web:1" {
		t.Fatalf("rollback %+v, %v", ro, err)
	}
	f.finish()
	f.wantImages("web:1", "web:1", "web:1")
}

func TestRolloutRefused(t *testing.T) {
	f := newFleet(t, 2, 1)
	ctx := t.Context()
	for name, c := range map[string]struct {
		pool string
		o    roles.RolloutOptions
		kind error
		text string
	}{
		"no such pool":    {"mail", roles.RolloutOptions{Image: web2}, fs.ErrNotExist, "does not exist"},
		"no such version": {"web", roles.RolloutOptions{Image: images.Ref{Name: "web", Version: 9}}, fs.ErrNotExist, "web:9"},
		"nothing to do":   {"web", roles.RolloutOptions{}, fs.ErrInvalid, "nothing would change"},
		"negative":        {"web", roles.RolloutOptions{Image: web2, Batch: -1}, fs.ErrInvalid, "cannot be negative"},
	} {
		if _, err := f.StartRollout(ctx, c.pool, c.o); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, do := range map[string]func(context.Context, string) (roles.Rollout, error){"stop": f.StopRollout, "rollback": f.RollbackPool} {
		if _, err := do(ctx, "web"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s without a rollout: %v", name, err)
		}
	}
	f.size(2, "")
	if _, err := f.StartRollout(ctx, "web", roles.RolloutOptions{Image: web2}); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "add a node, or lower size.min to 1") {
		t.Errorf("as many nodes as the minimum: %v", err)
	}
	f.size(1, "")
	f.DefaultPower, f.mute[mac(2)] = "", true
	f.pass(20)
	if _, err := f.StartRollout(ctx, "web", roles.RolloutOptions{Image: web2}); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "web-02: its own agent does not answer") {
		t.Errorf("a node that cannot be restarted: %v", err)
	}
	f.mute[mac(2)] = false
	f.pass(1)
	f.start(roles.RolloutOptions{Image: web2})
	if _, err := f.StartRollout(ctx, "web", roles.RolloutOptions{Image: web2}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two at once: %v", err)
	}
	f.finish()
	if _, err := f.StopRollout(ctx, "web"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("stop after its end: %v", err)
	}
}

// A pool without nodes has nothing to restart: its next node boots the image.
func TestRolloutOfNobody(t *testing.T) {
	f := newFleet(t, 0, 1)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.wantRollout(roles.RolloutDone, "", "")
	f.wantImages("web:2")
}
