package roles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
	"muster/roles/state"
)

// TestRolloutModel lets machines that fail and die, operators that change their mind, and a server that
// restarts at any moment do what they like, and looks at every step whether the rollout keeps its promises. The
// seeds are fixed: what fails, fails again.
func TestRolloutModel(t *testing.T) {
	seeds, steps := 60, 400
	if testing.Short() {
		seeds = 20
	}
	ended := map[roles.RolloutState]int{}
	for seed := range seeds {
		m := newRolloutModel(t, uint64(seed))
		for range steps {
			m.step()
		}
		m.settle()
		for state, n := range m.ended {
			ended[state] += n
		}
	}
	t.Logf("%d seeds: rollouts ended %v", seeds, ended)
	for _, s := range []roles.RolloutState{roles.RolloutDone, roles.RolloutRolledBack, roles.RolloutFailed} {
		if ended[s] < 5 {
			t.Errorf("only %d rollouts ended %s: the model proves little", ended[s], s)
		}
	}
}

type rolloutModel struct {
	*rack
	rand   *rand.Rand
	mem    state.Memory
	store  *state.Store
	images *versions
	power  *outlets
	rec    *roles.Reconciler
	last   map[roles.MAC]time.Time
	least  int
	pin    string
	ended  map[roles.RolloutState]int
	log    []string
}

func newRolloutModel(t *testing.T, seed uint64) *rolloutModel {
	m := &rolloutModel{rack: &rack{t: t, now: noon}, rand: rand.New(rand.NewPCG(seed, 2)), power: &outlets{},
		images: &versions{newest: 4, current: 1, broken: map[int]bool{}}, ended: map[roles.RolloutState]int{}}
	for i := range 5 {
		m.power.boxes = append(m.power.boxes, &box{mac: mac(i + 1), on: true, phase: firmware})
	}
	m.serve()
	t.Cleanup(func() { _ = m.store.Close() })
	m.least = 1
	m.redeclare()
	for range 5 {
		m.peace(true)
	}
	return m
}

// serve starts a server over what the last one left.
func (m *rolloutModel) serve() {
	m.t.Helper()
	if m.store != nil {
		if err := m.store.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
	var err error
	if m.store, err = state.New(&m.mem, state.Options{}); err != nil {
		m.t.Fatal(err)
	}
	m.Registry = &roles.Registry{Store: m.store, Images: m.images, Now: func() time.Time { return m.now },
		Power: map[string]roles.Driver{"test": m.power}, DefaultPower: "test"}
	m.rec = &roles.Reconciler{Registry: m.Registry, Checker: m, Parallel: 1}
	m.rec.Watching(m.now)
	m.last = map[roles.MAC]time.Time{}
}

// Check implements roles.Checker.
func (m *rolloutModel) Check(_ context.Context, _ roles.Health, n roles.Node) error {
	if !m.power.find(n.MAC.String()).serves(m.images.broken) {
		return errRefused
	}
	return nil
}

func (m *rolloutModel) redeclare() {
	more := ""
	if m.pin != "" {
		more = fmt.Sprintf(", image: %q", m.pin)
	}
	m.declare(fmt.Sprintf(fleetYAML, m.least, more))
}

func (m *rolloutModel) any() *box { return m.power.boxes[m.rand.IntN(len(m.power.boxes))] }

// step does one thing, and checks the rack after it.
func (m *rolloutModel) step() {
	m.t.Helper()
	m.now = m.now.Add(time.Duration(m.rand.IntN(4000)) * time.Millisecond)
	before := m.snapshot()
	what, err := m.act(before)
	m.log = append(m.log, fmt.Sprintf("%s %s → %v", m.now.Format("15:04:05"), what, err))
	kinds := []error{fs.ErrExist, fs.ErrNotExist, fs.ErrInvalid, fs.ErrPermission, errPDU}
	if err != nil && !slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) }) {
		m.fail("an error without a kind: %v", err)
	}
	m.promises(before, m.snapshot())
}

func (m *rolloutModel) act(before snapshot) (string, error) {
	x := m.any()
	switch n := m.rand.IntN(100); {
	case n < 50:
		return m.boot(x, before)
	case n < 80:
		if m.rand.IntN(2) == 0 {
			return "look", m.rec.Look(m.t.Context(), m.last)
		}
		return "rollouts", m.rec.Step(m.t.Context())
	case n < 82:
		m.serve()
		return "the server restarts", nil
	case n < 83:
		m.now = m.now.Add(time.Duration(m.rand.IntN(900)) * time.Second)
		return "time goes by", nil
	case n < 87:
		return m.fault(x), nil
	case n < 92:
		return m.roll()
	}
	return m.operate(x)
}

// boot lets a machine go on, and checks what it is told to boot.
func (m *rolloutModel) boot(x *box, before snapshot) (string, error) {
	was := x.phase
	err := x.act(m.t.Context(), m.Registry, m.now, m.rand.IntN(25) == 0)
	if x.phase == mounting && was != mounting {
		slot := m.node(x.mac.String()).Slot
		if want := m.expected(before, slot); x.image.String() != want {
			m.fail("%s as %s boots %s, want %s (rollout %+v)", x.mac, slot, x.image, want, before.ro)
		}
	}
	return fmt.Sprintf("%s: %s, %s", x.mac, was, x.phase), err
}

// expected is what a slot's occupant boots.
func (m *rolloutModel) expected(s snapshot, slot string) string {
	if s.active() {
		if i := slices.IndexFunc(s.ro.Slots, func(r roles.RolloutSlot) bool { return r.Name == slot }); i >= 0 && s.ro.State == roles.RolloutRunning {
			if st := s.ro.Slots[i].State; st == "restarting" || st == "done" {
				return s.ro.Image.String()
			}
		}
		return s.ro.From.String()
	}
	return m.resolved(s.pool)
}

// resolved is what a pool boots when no rollout goes on.
func (m *rolloutModel) resolved(p roles.Pool) string {
	if p.Image == "" {
		return images.Ref{Name: "web", Version: m.images.current}.String()
	}
	return p.Image
}

func (m *rolloutModel) fault(x *box) string {
	switch m.rand.IntN(8) {
	case 0:
		x.dead = !x.dead
		return fmt.Sprintf("%s: dead %v", x.mac, x.dead)
	case 1:
		x.mute = !x.mute
		return fmt.Sprintf("%s: mute %v", x.mac, x.mute)
	case 2:
		if x.on {
			x.reset()
		}
		return fmt.Sprintf("%s: resets", x.mac)
	case 3:
		x.on = !x.on
		x.reset()
		return fmt.Sprintf("%s: somebody switches it, on %v", x.mac, x.on)
	case 4:
		v := 1 + m.rand.IntN(m.images.newest)
		m.images.broken[v] = m.rand.IntN(3) == 0
		return fmt.Sprintf("web:%d: broken %v", v, m.images.broken[v])
	case 5:
		m.power.err = nil
		if m.rand.IntN(3) == 0 {
			m.power.err = errPDU
		}
		return fmt.Sprintf("power: %v", m.power.err)
	case 6:
		m.images.current = 1 + m.rand.IntN(m.images.newest)
		return fmt.Sprintf("web:%d is current", m.images.current)
	}
	x.dead, x.mute, x.on = false, false, true
	return fmt.Sprintf("%s: repaired", x.mac)
}

func (m *rolloutModel) roll() (string, error) {
	ctx := m.t.Context()
	switch m.rand.IntN(16) {
	case 0:
		_, err := m.StopRollout(ctx, "web")
		return "stop", err
	case 1:
		_, err := m.RollbackPool(ctx, "web")
		return "rollback", err
	}
	o := roles.RolloutOptions{Image: images.Ref{Name: "web", Version: m.rand.IntN(m.images.newest + 1)}, Canary: m.rand.IntN(3), Batch: m.rand.IntN(4)}
	ro, err := m.StartRollout(ctx, "web", o)
	return fmt.Sprintf("start %s → %s, canary %d, batch %d", ro.From, o.Image, o.Canary, o.Batch), err
}

func (m *rolloutModel) operate(x *box) (string, error) {
	ctx, key := m.t.Context(), x.mac.String()
	switch m.rand.IntN(9) {
	case 0:
		m.least = m.rand.IntN(4)
		m.redeclareAs()
		return fmt.Sprintf("minimum %d", m.least), nil
	case 1:
		if m.rand.IntN(3) > 0 {
			return "nothing", nil
		}
		m.pin = []string{"", "web:1", "web:2", "web:3"}[m.rand.IntN(4)]
		m.redeclare()
		return fmt.Sprintf("pin %q", m.pin), nil
	case 2:
		_, err := m.Release(ctx, key)
		return "release " + key, err
	case 3, 4:
		_, err := m.Assign(ctx, key, "web", "")
		return "assign " + key, err
	case 5:
		return "forget " + key, m.Forget(ctx, key)
	case 6:
		_, err := m.RestartNode(ctx, key, "an operator wants it")
		return "restart " + key, err
	case 7:
		other := m.any().mac.String()
		_, err := m.Replace(ctx, key, other)
		return "replace " + key + " by " + other, err
	}
	action := []roles.PowerAction{roles.PowerOn, roles.PowerOff, roles.PowerCycle}[m.rand.IntN(3)]
	_, err := m.SwitchPower(ctx, key, action)
	return fmt.Sprintf("power %s %s", action, key), err
}

// redeclareAs changes the minimum, and leaves the pin as it is.
func (m *rolloutModel) redeclareAs() {
	p, err := m.Pool("web")
	if err != nil {
		m.fail("%v", err)
	}
	m.pin = p.Image
	m.redeclare()
}

// settle repairs everything: the rollout must come to its end.
func (m *rolloutModel) settle() {
	m.t.Helper()
	if p, _ := m.Pool("web"); len(p.Slots)-p.Free <= m.least {
		m.least = 0
		m.redeclareAs()
	}
	for i := range 400 {
		m.peace(i%10 == 0)
		s := m.snapshot()
		if !s.active() {
			m.consistent(s)
			return
		}
	}
	m.fail("the rollout does not end: %+v", m.snapshot().ro)
}

// peace is a round in which all that is broken is repaired, and everybody does a step.
func (m *rolloutModel) peace(repair bool) {
	m.t.Helper()
	m.power.err, m.images.broken = nil, map[int]bool{}
	for _, x := range m.power.boxes {
		x.dead, x.mute = false, false
		astray := x.phase == running && m.Authentic(x.mac, x.token) != nil || m.snapshot().node(x.mac).State == roles.StateOff
		if repair && (!x.on || x.phase == "hung" || astray) { // somebody presses the button
			x.on = true
			x.reset()
		}
		for range 6 {
			before := m.snapshot()
			m.now = m.now.Add(500 * time.Millisecond)
			if what, err := m.boot(x, before); err != nil && !errors.Is(err, fs.ErrPermission) {
				m.fail("%s: %v", what, err)
			}
		}
	}
	if err := m.rec.Look(m.t.Context(), m.last); err != nil {
		m.fail("%v", err)
	}
	before := m.snapshot()
	if err := m.rec.Step(m.t.Context()); err != nil {
		m.fail("%v", err)
	}
	m.promises(before, m.snapshot())
}

func (m *rolloutModel) fail(format string, args ...any) {
	m.t.Helper()
	for _, l := range m.log[max(0, len(m.log)-40):] {
		m.t.Log(l)
	}
	for _, n := range m.snapshot().nodes {
		b, _ := m.Boot(n.MAC.String(), 0)
		m.t.Logf("%s %s in %q since %s: %s; runs %s, restart %q, step %s", n.MAC, n.State, n.Slot, n.Since.Format("15:04:05"), n.Why, n.Image, n.Restart, b.Step)
	}
	for _, x := range m.power.boxes {
		m.t.Logf("%+v", *x)
	}
	m.t.Fatalf(format, args...)
}

// snapshot is what the store has of the pool.
type snapshot struct {
	pool  roles.Pool
	ro    roles.Rollout
	nodes []roles.Node
}

func (s snapshot) active() bool {
	return s.ro.State == roles.RolloutRunning || s.ro.State == roles.RolloutRollingBack
}

func (m *rolloutModel) snapshot() (s snapshot) {
	_ = m.Store.View(func(tx roles.Tx) error {
		s.pool, _ = tx.Pools().Get("web")
		s.ro, _ = tx.Rollouts().Get("web")
		s.nodes = slices.Collect(tx.Nodes().All())
		return nil
	})
	return s
}

func (s snapshot) node(mac roles.MAC) roles.Node {
	i := slices.IndexFunc(s.nodes, func(n roles.Node) bool { return n.MAC == mac })
	if i < 0 {
		return roles.Node{}
	}
	return s.nodes[i]
}

func (s snapshot) ready() (n int) {
	for _, x := range s.nodes {
		if x.Pool == "web" && x.State == roles.StateReady {
			n++
		}
	}
	return n
}

func (s snapshot) slots(state string) (out []string) {
	for _, x := range s.ro.Slots {
		if x.State == state {
			out = append(out, x.Name)
		}
	}
	return out
}

// promises checks what a rollout promises, over one step.
func (m *rolloutModel) promises(before, after snapshot) {
	m.t.Helper()
	var served, asked int
	for _, n := range after.nodes {
		was := before.node(n.MAC)
		if n.Restart == "" || n.Restart == was.Restart || !strings.HasPrefix(n.Restart, "roll") {
			continue
		}
		if asked++; was.State == roles.StateReady {
			served++
		}
	}
	ro := after.ro
	if served > 0 && after.ready() < after.pool.Size.Min {
		m.fail("%d ready nodes were asked to restart, and %d of at least %d are left (%+v)", served, after.ready(), after.pool.Size.Min, ro)
	}
	if asked > 0 && ro.State == roles.RolloutRunning {
		limit, restarting := ro.Batch, len(after.slots("restarting"))
		if missing := ro.Canary - len(after.slots("done")); missing > 0 {
			limit = missing
		}
		if restarting > limit {
			m.fail("%d nodes restart at once, want at most %d (%+v)", restarting, limit, ro)
		}
	}
	if ro.State == roles.RolloutRunning {
		for _, s := range after.slots("failed") {
			if !slices.Contains(ro.Ailing, s) {
				m.fail("%s failed, and the rollout goes on: %+v", s, ro)
			}
		}
	}
	if (ro.Pool != "" && after.active()) != ro.Ended.IsZero() && ro.Pool != "" {
		m.fail("state %s, ended %s", ro.State, ro.Ended)
	}
	if before.active() && !after.active() {
		m.ends(before, after)
	}
}

// ends checks what a rollout leaves behind.
func (m *rolloutModel) ends(before, after snapshot) {
	m.t.Helper()
	ro := after.ro
	m.ended[ro.State]++
	pin, want := after.pool.Image, ro.From.String()
	if ro.State == roles.RolloutDone {
		want = ro.Image.String()
	}
	operators := before.pool.Image != before.ro.Pin // who pinned it meanwhile
	switch {
	case operators && pin == before.pool.Image && (pin == want || ro.State == roles.RolloutFailed):
	case pin != want && !(ro.State == roles.RolloutDone && pin == "" && m.resolved(after.pool) == want):
		m.fail("the pool is pinned to %q, want %s: %+v", pin, want, ro)
	case ro.State == roles.RolloutFailed && ro.Why == "", ro.State == roles.RolloutRolledBack && ro.Why == "":
		m.fail("nobody knows why: %+v", ro)
	}
	for _, n := range after.nodes {
		i := slices.IndexFunc(ro.Slots, func(s roles.RolloutSlot) bool { return s.Name == n.Slot })
		if i < 0 || n.State != roles.StateReady || n.Pool != "web" {
			continue
		}
		ok := true
		switch st := ro.Slots[i].State; ro.State {
		case roles.RolloutDone:
			ok = n.Image == ro.Image.String() || st == "failed"
		case roles.RolloutRolledBack:
			ok = n.Image != ro.Image.String() || ro.Image == ro.From
		}
		if !ok {
			m.fail("%s runs %s at the end: %+v", n.Slot, n.Image, ro)
		}
	}
}

// consistent checks a rack that came to rest.
func (m *rolloutModel) consistent(s snapshot) {
	for _, slot := range s.slots("restarting") {
		if s.ro.State != roles.RolloutFailed {
			m.fail("%s restarts, and the rollout is over: %+v", slot, s.ro)
		}
	}
}
