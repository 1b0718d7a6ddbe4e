package roles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"muster/roles"
	"muster/roles/state"
)

// TestModel lets machines, operators and time do what they like in any order, and looks after every step
// whether the rack is one that can exist. The seeds are fixed: what fails, fails again.
func TestModel(t *testing.T) {
	seeds, steps := 40, 200
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, uint64(seed))
			for range steps {
				m.step()
			}
			m.settle()
		})
	}
}

// model is a rack and what its machines know.
type model struct {
	*rack
	rand     *rand.Rand
	machines []*machine
	power    *switches
	log      []string // what was done, for the report of a failure
	taking   bool     // the step gives a slot away on purpose
}

// machine is a machine's own memory.
type machine struct {
	mac        roles.MAC
	token, old string // of this boot and of the one before
	seq        int
	up         time.Duration
}

const modelYAML = `
roles: [{name: web, health: {http: {}}}, {name: ntp}]
pools:
- {name: web, role: web, size: {min: 1, max: %d}, addresses: 10.77.0.20-10.77.0.29, match: {arch: [x86_64]}}
- {name: ntp, role: ntp, size: {max: 2}, addresses: 10.77.0.40-10.77.0.49}
`

func newModel(t *testing.T, seed uint64) *model {
	store := state.OpenMemory()
	t.Cleanup(func() { _ = store.Close() })
	m := &model{rand: rand.New(rand.NewPCG(seed, 1)), power: &switches{on: map[string]bool{}}}
	m.rack = &rack{t: t, now: noon}
	m.Registry = &roles.Registry{Store: store, Images: published{}, Now: func() time.Time { return m.now },
		Power: map[string]roles.Driver{"test": m.power}, DefaultPower: "test"}
	m.declare(fmt.Sprintf(modelYAML, 3))
	for i := range 6 {
		m.machines = append(m.machines, &machine{mac: mac(i + 1)})
	}
	return m
}

// step does one thing, and checks the rack after it.
func (m *model) step() {
	m.t.Helper()
	before := m.occupants()
	m.power.off, m.taking = nil, false
	m.now = m.now.Add(time.Duration(m.rand.IntN(8000)) * time.Millisecond)
	x := m.machines[m.rand.IntN(len(m.machines))]
	what, err := m.act(x)
	m.log = append(m.log, fmt.Sprintf("%s %s: %s → %v", m.now.Format("15:04:05"), x.mac, what, err))
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		m.fail("an error without a kind: %v", err)
	}
	m.invariants()
	m.takeovers(before)
}

func (m *model) act(x *machine) (string, error) {
	ctx := m.t.Context()
	switch n := m.rand.IntN(100); {
	case n < 5:
		t, o := m.powerOn(x.mac)
		x.old, x.token, x.seq, x.up = x.token, t.Boot.Token, 1, 10*time.Second
		if o.Slot != nil && m.rand.IntN(2) == 0 {
			m.check(1, nil)
		}
		return "a whole boot", nil
	case n < 12:
		return "DISCOVER", m.discover(x)
	case n < 24:
		t, err := m.Script(ctx, x.mac, facts)
		if err == nil && t.Boot.Token != x.token {
			x.old, x.token, x.seq = x.token, t.Boot.Token, 0
		}
		return "script", err
	case n < 36:
		k := kernel
		if m.rand.IntN(8) == 0 {
			k = "5.10.0-1-amd64"
		}
		x.up = 4 * time.Second
		_, err := m.Hello(ctx, x.mac, x.token, k, x.up, roles.Facts{Inventory: &roles.Inventory{Memory: 1024}})
		return "hello", err
	case n < 42:
		_, err := m.Orders(ctx, x.mac, x.token)
		return "poll", err
	case n < 58:
		return m.tell(x)
	case n < 61:
		if x.old == "" || x.old == x.token {
			return "nothing", nil
		}
		_, err := m.Hello(ctx, x.mac, x.old, kernel, 0, facts)
		if !errors.Is(err, fs.ErrPermission) {
			m.fail("the token of an older boot is taken: %v", err)
		}
		return "hello of an older boot", nil
	case n < 65:
		step := []roles.Step{roles.StepDiscover, roles.StepLease, roles.StepNBP, roles.StepKernel, roles.StepInitrd}[m.rand.IntN(5)]
		at := m.now.Add(-time.Duration(m.rand.IntN(20)) * time.Second)
		return "late sighting of " + string(step), m.Observe(ctx, []roles.Sighting{{MAC: x.mac, Time: at, Step: step, Boots: true, Facts: facts}})
	case n < 78:
		return "checks", m.look()
	case n < 82:
		m.now = m.now.Add(time.Duration(m.rand.IntN(1000)) * time.Second)
		return "time goes by", nil
	case n < 97:
		return m.operate(x)
	}
	max := 1 + m.rand.IntN(5)
	d := m.parse(fmt.Sprintf(modelYAML, max) + fmt.Sprintf("nodes: [{mac: %s, labels: {x: %q}}]\n", x.mac, fmt.Sprint(max)))
	_, err := m.Apply(ctx, d, roles.ApplyOptions{DryRun: m.rand.IntN(3) == 0, Prune: m.rand.IntN(2) == 0})
	return fmt.Sprintf("apply with %d slots", max), err
}

// discover is a machine's reset, as DHCP sees it.
func (m *model) discover(x *machine) error {
	m.HostOf(m.t.Context(), x.mac, true)
	return m.Observe(m.t.Context(), []roles.Sighting{{MAC: x.mac, Time: m.now, Step: roles.StepDiscover, Boots: true, Facts: facts}})
}

// tell reports a step, sometimes a bad one, and sometimes one that was told before.
func (m *model) tell(x *machine) (string, error) {
	steps := []roles.Step{roles.StepNetwork, roles.StepRoot, roles.StepMount, roles.StepFiles, roles.StepSwitchRoot, roles.StepSwitchRoot, roles.StepReboot, roles.StepFail}
	ev := roles.Reported{Step: steps[m.rand.IntN(len(steps))], Message: "m"}
	if m.rand.IntN(5) == 0 {
		ev.Error = "no route to host"
	}
	if m.rand.IntN(6) > 0 {
		x.seq++
	}
	x.up += time.Duration(m.rand.IntN(9)) * time.Second
	ev.Seq, ev.Uptime = x.seq, x.up
	return "report of " + string(ev.Step) + " " + ev.Error, m.Report(m.t.Context(), x.mac, x.token, []roles.Reported{ev})
}

func (m *model) operate(x *machine) (string, error) {
	ctx, key := m.t.Context(), x.mac.String()
	switch m.rand.IntN(10) {
	case 0, 1, 2:
		pool := []string{"web", "ntp"}[m.rand.IntN(2)]
		slot := []string{"", "", pool + "-01", pool + "-02"}[m.rand.IntN(4)]
		_, err := m.Assign(ctx, key, pool, slot)
		return "assign " + pool + " " + slot, err
	case 3:
		_, err := m.Release(ctx, key)
		return "release", err
	case 4:
		other := m.machines[m.rand.IntN(len(m.machines))].mac.String()
		m.taking = true
		_, err := m.Replace(ctx, key, other)
		return "replace by " + other, err
	case 5:
		return "forget", m.Forget(ctx, key)
	}
	action := []roles.PowerAction{roles.PowerOn, roles.PowerOff, roles.PowerCycle}[m.rand.IntN(3)]
	_, err := m.SwitchPower(ctx, key, action)
	return "power " + string(action), err
}

// look is one pass of the reconciler in which every check has an outcome of its own.
func (m *model) look() error {
	c := &roles.Reconciler{Registry: m.Registry, Checker: lottery{m.rand}, Parallel: 1}
	return c.Pass(m.t.Context(), map[roles.MAC]time.Time{})
}

// lottery is a Checker that finds now this and now that. Parallel must be 1.
type lottery struct{ *rand.Rand }

func (l lottery) Check(context.Context, roles.Health, roles.Node) error {
	if l.IntN(2) == 0 {
		return errors.New("connection refused")
	}
	return nil
}

// occupant is a slot's node before a step.
type occupant struct{ roles.Node }

func (m *model) occupants() map[string]occupant {
	out := map[string]occupant{}
	_ = m.Store.View(func(tx roles.Tx) error {
		for s := range tx.Slots().All() {
			n, _ := tx.Nodes().Get(s.Node)
			out[s.Name] = occupant{n}
		}
		return nil
	})
	return out
}

// takeovers checks that only what had failed for long enough lost its slot to another machine, and that it
// was switched off before.
func (m *model) takeovers(before map[string]occupant) {
	for slot, now := range m.occupants() {
		was := before[slot]
		if was.MAC.IsZero() || now.MAC.IsZero() || was.MAC == now.MAC {
			continue
		}
		failed := was.State == roles.StateFailed && m.now.Sub(was.Since) >= roles.DefaultTakeover
		if !failed && !m.taking {
			m.fail("%s went from %s, which was %s since %s, to %s", slot, was.MAC, was.State, was.Since, now.MAC)
		}
		if idle := was.State == roles.StateOff || was.State == roles.StateWaiting; !idle && !slices.Contains(m.power.off, was.MAC.String()) {
			m.fail("%s went from %s to %s, and nobody switched the old machine off", slot, was.MAC, now.MAC)
		}
	}
}

// invariants checks what holds in every rack at any time.
func (m *model) invariants() {
	err := m.Store.View(func(tx roles.Tx) error {
		addresses := map[string]string{}
		for s := range tx.Slots().All() {
			if other := addresses[s.Address.String()]; other != "" {
				m.fail("%s and %s both have %s", other, s.Name, s.Address)
			}
			addresses[s.Address.String()] = s.Name
			if _, ok := tx.Pools().Get(s.Pool); !ok {
				m.fail("slot %s is of no pool", s.Name)
			}
			if s.Node.IsZero() {
				continue
			}
			if n, ok := tx.Nodes().Get(s.Node); !ok || n.Slot != s.Name || !s.Used {
				m.fail("slot %s has %s, which has slot %q", s.Name, s.Node, n.Slot)
			}
		}
		for n := range tx.Nodes().All() {
			m.checkNode(tx, n)
		}
		return nil
	})
	if err != nil {
		m.fail("%v", err)
	}
}

func (m *model) checkNode(tx roles.Tx, n roles.Node) {
	s, has := tx.Slots().Get(n.Slot)
	b, booted := tx.Boots().Get(n.Boot)
	elsewhere := has && (s.Pool != n.Pool || n.WantSlot != "" && n.WantSlot != n.Slot)
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"it and its slot do not agree", has == (n.Slot != "") && (!has || s.Node == n.MAC && n.Name == s.Name && n.Address == s.Address)},
		{"it is not where it belongs, and not on its way", elsewhere == (n.State == roles.StateDraining)},
		{"it is ready without a slot or a boot", n.State != roles.StateReady || has && b.Ready},
		{"it was replaced or released, and has a slot", n.Replaced == nil && !n.Released || !has},
		{"it was assigned to nothing", !n.Assigned || n.Pool != ""},
		{"it belongs to a pool that it neither is in nor was assigned to", n.Pool == "" || n.Assigned || has},
		{"it failed, and its boot goes on", n.State != roles.StateFailed || !b.Ended.IsZero() && n.Why != ""},
		{"it is off, and its boot goes on", n.State != roles.StateOff || !booted || !b.Ended.IsZero()},
		{"it knows the future", !n.Since.After(m.now) && !n.LastSeen.After(m.now) && !b.Ended.After(m.now)},
		{"a boot is ready that has not ended", !b.Ready || !b.Ended.IsZero()},
		{"its boot is lost", booted == (n.Boot != 0)},
	} {
		if !c.ok {
			m.fail("%s: %+v\nboot %+v", c.what, n, b)
		}
	}
	for old := range tx.BootsOf(n.MAC) {
		if old.ID > n.Boot || old.ID < n.Boot && old.Ended.IsZero() {
			m.fail("boot %d of %s, whose latest is %d, goes on", old.ID, n.MAC, n.Boot)
		}
	}
}

// settle lets everybody boot in peace: all must come to rest, and nobody may be stuck.
func (m *model) settle() {
	m.t.Helper()
	m.now = m.now.Add(11 * time.Minute)
	m.check(1, errors.New("connection refused"))
	for _, x := range m.machines {
		if n, err := m.Node(x.mac.String()); err == nil && n.State == roles.StateBooting {
			m.fail("it boots for ever: %+v", n)
		}
	}
	for range 2 { // some make room for others
		for _, x := range m.machines {
			m.powerOn(x.mac)
		}
		m.check(1, nil)
		m.invariants()
	}
	for _, x := range m.machines {
		n := m.node(x.mac.String())
		if ready := n.State == roles.StateReady && n.Slot != ""; !ready && !(n.State == roles.StateWaiting && n.Slot == "" && n.Why != "") {
			m.fail("it does not come to rest: %+v", n)
		}
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, l := range m.log[max(0, len(m.log)-25):] {
		m.t.Log(l)
	}
	m.t.Fatalf(format, args...)
}

// switches is a power driver that remembers.
type switches struct {
	mu  sync.Mutex // guards what follows, while the driver is in use
	on  map[string]bool
	off []string // whom it switched off
	err error    // of every call
}

func (s *switches) On(_ context.Context, target string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.on[target] = true
	}
	return s.err
}

func (s *switches) Off(_ context.Context, target string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.on[target] = false
		s.off = append(s.off, target)
	}
	return s.err
}

func (s *switches) Status(_ context.Context, target string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[target], s.err
}
