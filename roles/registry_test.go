package roles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
	"muster/roles/declare"
	"muster/roles/state"
)

const rackYAML = `
roles:
- {name: web, image: web, health: {http: {port: 80}}, state: [/var/log/nginx]}
- {name: ntp, image: ntp, health: {ntp: {}}}
pools:
- {name: web, role: web, size: {min: 1, max: 50}, addresses: 10.77.0.20-10.77.0.69, match: {arch: [x86_64]}, priority: 10}
- {name: ntp, role: ntp, size: {max: 2}, addresses: 10.77.0.80-10.77.0.81}
`

const kernel = "6.1.0-39-cloud-amd64"

// published is a catalog in which everything is built.
type published struct{}

func (published) Find(ref images.Ref) (images.Image, error) {
	ref.Version = max(ref.Version, 1)
	return images.Image{Ref: ref, Kernel: kernel}, nil
}

// notBuilt is a catalog in which nothing is.
type notBuilt struct{}

func (notBuilt) Find(ref images.Ref) (images.Image, error) {
	return images.Image{}, fmt.Errorf("image %s is not built; build it: muster image build %s: %w", ref, ref.Name, fs.ErrNotExist)
}

// rack is a registry over a real store, with a clock that the test moves.
type rack struct {
	*roles.Registry
	t   *testing.T
	now time.Time
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newRack(t *testing.T) *rack {
	store := state.OpenMemory()
	t.Cleanup(func() { _ = store.Close() })
	r := &rack{t: t, now: noon}
	r.Registry = &roles.Registry{Store: store, Images: published{}, Now: func() time.Time { return r.now }}
	r.declare(rackYAML)
	return r
}

func (r *rack) parse(text string) roles.Declaration {
	r.t.Helper()
	d, err := declare.Parse([]byte(text), "rack.yaml")
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rack) declare(text string) []roles.Change {
	r.t.Helper()
	changes, err := r.Apply(r.t.Context(), r.parse(text), roles.ApplyOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return changes
}

func mac(i int) roles.MAC { return roles.MAC{0x52, 0x54, 0, 0xaa, byte(i >> 8), byte(i)} }

var facts = roles.Facts{Arch: "x86_64", Firmware: "bios", Address: netip.MustParseAddr("10.77.0.100")}

// powerOn does what a machine does up to its spec.
func (r *rack) powerOn(m roles.MAC) (roles.Ticket, roles.Orders) {
	r.t.Helper()
	ticket, orders := r.hello(m)
	if orders.Slot != nil {
		r.now = r.now.Add(5 * time.Second)
		r.report(m, ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 8 * time.Second, Step: roles.StepSwitchRoot})
	}
	return ticket, orders
}

// hello boots a machine up to its agent's first word.
func (r *rack) hello(m roles.MAC) (roles.Ticket, roles.Orders) {
	r.t.Helper()
	ctx := r.t.Context()
	r.now = r.now.Add(time.Second)
	if err := r.Observe(ctx, []roles.Sighting{{MAC: m, Time: r.now, Step: roles.StepDiscover, Boots: true, Facts: facts}}); err != nil {
		r.t.Fatal(err)
	}
	if _, _, ok := r.HostOf(ctx, m, true); ok {
		r.now = r.now.Add(time.Second)
	}
	ticket, err := r.Script(ctx, m, facts)
	if err != nil {
		r.t.Fatal(err)
	}
	orders, err := r.Hello(ctx, m, ticket.Boot.Token, kernel, 4*time.Second, roles.Facts{Inventory: &roles.Inventory{Memory: 1024, CPUs: 2}})
	if err != nil {
		r.t.Fatal(err)
	}
	return ticket, orders
}

func (r *rack) report(m roles.MAC, token string, events ...roles.Reported) {
	r.t.Helper()
	if err := r.Report(r.t.Context(), m, token, events); err != nil {
		r.t.Fatal(err)
	}
}

// check lets the reconciler look so many times, each with this outcome of every health check.
func (r *rack) check(rounds int, outcome error) {
	r.t.Helper()
	c := &roles.Reconciler{Registry: r.Registry, Checker: verdict{outcome}}
	for range rounds {
		r.now = r.now.Add(10 * time.Second)
		if err := c.Pass(r.t.Context(), map[roles.MAC]time.Time{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// verdict is a Checker that always finds the same.
type verdict struct{ err error }

func (v verdict) Check(context.Context, roles.Health, roles.Node) error { return v.err }

func (r *rack) node(key string) roles.Node {
	r.t.Helper()
	n, err := r.Node(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rack) wantNode(key, slot string, st roles.State) roles.Node {
	r.t.Helper()
	n := r.node(key)
	if n.Slot != slot || n.State != st {
		r.t.Fatalf("node %s is %s in %q (%s), want %s in %q", key, n.State, n.Slot, n.Why, st, slot)
	}
	return n
}

func TestBringUp(t *testing.T) {
	r := newRack(t)
	ticket, orders := r.powerOn(mac(1))
	if orders.Slot == nil || orders.Slot.Name != "web-01" || orders.Image.Ref.String() != "web:1" || orders.Role.Name != "web" {
		t.Fatalf("orders %+v", orders)
	}
	if ticket.Boot.Token == "" || ticket.Node.Joined != "joined pool web by its rule" {
		t.Errorf("ticket %+v", ticket)
	}
	r.check(1, nil)
	n := r.wantNode("web-01", "web-01", roles.StateReady)
	if n.Address != netip.MustParseAddr("10.77.0.20") {
		t.Errorf("address %s", n.Address)
	}
	b, err := r.Boot("web-01", 0)
	if err != nil || !b.Ready || b.Ended.IsZero() {
		t.Fatalf("boot %+v, %v", b, err)
	}
	var steps []string
	for _, ev := range b.Events {
		steps = append(steps, string(ev.Step))
	}
	if got := strings.Join(steps, " "); got != "discover script hello spec switch-root ready" {
		t.Errorf("timeline: %s", got)
	}
	if _, addr, ok := r.HostOf(t.Context(), mac(1), true); !ok || addr != n.Address {
		t.Errorf("DHCP would give %s, %v", addr, ok)
	}
}

func TestRebuild(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	r.check(3, errors.New("connection refused"))
	dead := r.wantNode("web-01", "web-01", roles.StateFailed)
	if !strings.Contains(dead.Why, "connection refused") {
		t.Errorf("why %q", dead.Why)
	}
	r.now = r.now.Add(time.Minute)
	_, orders := r.powerOn(mac(2))
	if orders.Slot == nil || orders.Slot.Name != "web-01" {
		t.Fatalf("the replacement got %+v", orders)
	}
	r.check(1, nil)
	r.wantNode(mac(2).String(), "web-01", roles.StateReady)

	_, orders = r.powerOn(mac(1))
	if !strings.Contains(orders.Wait, "took over web-01") {
		t.Errorf("the old machine was told %+v", orders)
	}
	r.wantNode(mac(1).String(), "", roles.StateWaiting)
	r.wantNode("web-01", "web-01", roles.StateReady)
}

func TestChangeRole(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	if _, err := r.Assign(t.Context(), "web-01", "ntp", ""); err != nil {
		t.Fatal(err)
	}
	n := r.wantNode(mac(1).String(), "web-01", roles.StateDraining)
	if n.Pool != "ntp" {
		t.Errorf("pool %s", n.Pool)
	}
	r.check(1, nil)
	r.wantNode(mac(1).String(), "web-01", roles.StateDraining)
	_, orders := r.powerOn(mac(1))
	if orders.Slot == nil || orders.Slot.Name != "ntp-01" {
		t.Fatalf("orders %+v", orders)
	}
	r.check(1, nil)
	r.wantNode("ntp-01", "ntp-01", roles.StateReady)
	if p, _ := r.Pool("web"); p.Free != 50 || p.Ready != 0 {
		t.Errorf("pool web still has %d ready, %d free", p.Ready, p.Free)
	}
}

func TestAssignBackWhileDraining(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	for _, pool := range []string{"ntp", "web"} {
		if _, err := r.Assign(t.Context(), mac(1).String(), pool, ""); err != nil {
			t.Fatal(err)
		}
	}
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
}

func TestFiftyMachinesAtOnce(t *testing.T) {
	r := newRack(t)
	var wg sync.WaitGroup
	slots := make([]string, 50)
	for i := range slots {
		wg.Go(func() {
			ticket, err := r.Script(t.Context(), mac(i+1), facts)
			if err != nil {
				t.Error(err)
			}
			slots[i] = ticket.Node.Slot
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for i, s := range slots {
		if other, twice := seen[s]; twice || s == "" {
			t.Errorf("machines %d and %d both have slot %q", other, i, s)
		}
		seen[s] = i
	}
	if len(seen) != 50 {
		t.Errorf("%d slots for 50 machines", len(seen))
	}
}

func TestWaitsUntilAssigned(t *testing.T) {
	r := newRack(t)
	r.declare("pools: [{name: web, role: web, size: {max: 2}, addresses: 10.77.0.20-10.77.0.21}]")
	ticket, orders := r.powerOn(mac(1))
	if !strings.Contains(orders.Wait, "no pool's rule takes") || r.Placeable(mac(1)) {
		t.Fatalf("orders %+v", orders)
	}
	if _, err := r.Assign(t.Context(), mac(1).String(), "ntp", ""); err != nil {
		t.Fatal(err)
	}
	if !r.Placeable(mac(1)) {
		t.Error("not placeable after it was assigned")
	}
	o, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token)
	if err != nil || o.Slot == nil || o.Slot.Name != "ntp-01" {
		t.Errorf("orders %+v, %v", o, err)
	}
}

func TestTokens(t *testing.T) {
	r := newRack(t)
	ticket, err := r.Script(t.Context(), mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Script(t.Context(), mac(1), facts)
	if err != nil || again.Boot.Token != ticket.Boot.Token {
		t.Errorf("a retry got another token (%v)", err)
	}
	for _, token := range []string{"", "x", strings.Repeat("0", 32)} {
		if _, err := r.Hello(t.Context(), mac(1), token, kernel, 0, facts); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("token %q: %v, want a permission error", token, err)
		}
	}
	if _, err := r.Hello(t.Context(), mac(9), ticket.Boot.Token, kernel, 0, facts); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("unknown machine: %v", err)
	}
	next, _ := r.powerOn(mac(1))
	if next.Boot.Token == ticket.Boot.Token || next.Boot.ID == ticket.Boot.ID {
		t.Error("the next boot has the last one's token")
	}
	if err := r.Report(t.Context(), mac(1), ticket.Boot.Token, []roles.Reported{{Seq: 1, Step: roles.StepFail}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the last boot's token still reports: %v", err)
	}
}

func TestReportsOnce(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	for range 2 {
		r.report(mac(1), ticket.Boot.Token,
			roles.Reported{Seq: 1, Uptime: 5 * time.Second, Step: roles.StepNetwork},
			roles.Reported{Seq: 2, Uptime: 6 * time.Second, Step: roles.StepRoot, Error: "no route to host"})
	}
	b, _ := r.Boot(mac(1).String(), 0)
	count := 0
	for _, ev := range b.Events {
		if ev.Step == roles.StepNetwork || ev.Step == roles.StepRoot {
			count++
		}
	}
	if count != 2 {
		t.Errorf("%d events of two that were reported twice", count)
	}
	if b.Step != roles.StepNetwork {
		t.Errorf("furthest step %s: a failed one must not count", b.Step)
	}
}

func TestAnotherKernelRestarts(t *testing.T) {
	r := newRack(t)
	ticket, err := r.Script(t.Context(), mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.Hello(t.Context(), mac(1), ticket.Boot.Token, "5.10.0-1-amd64", time.Second, facts)
	if err != nil || !strings.Contains(o.Reboot, kernel) {
		t.Errorf("orders %+v, %v; want a restart", o, err)
	}
}

func TestNothingBuilt(t *testing.T) {
	r := newRack(t)
	r.Images = notBuilt{}
	ticket, err := r.Script(t.Context(), mac(1), facts)
	if err != nil || !strings.Contains(ticket.Retry, "muster image build web") {
		t.Errorf("ticket %+v, %v", ticket, err)
	}
}

func TestSilentBootFails(t *testing.T) {
	r := newRack(t)
	if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(11 * time.Minute)
	r.check(1, nil)
	n := r.wantNode("web-01", "web-01", roles.StateFailed)
	if !strings.Contains(n.Why, "no sign of life since step script") {
		t.Errorf("why %q", n.Why)
	}
}

func TestReleaseForgetReplace(t *testing.T) {
	r := newRack(t)
	ctx := t.Context()
	r.powerOn(mac(1))
	r.check(1, nil)
	if err := r.Forget(ctx, "web-01"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("forgot a node that serves: %v", err)
	}
	if _, err := r.Release(ctx, "web-01"); err != nil {
		t.Fatal(err)
	}
	if _, o := r.powerOn(mac(1)); o.Wait == "" {
		t.Errorf("a released node was taken back: %+v", o)
	}
	r.powerOn(mac(2))
	r.wantNode("web-01", "web-01", roles.StateBooting)
	if _, err := r.Replace(ctx, "web-01", mac(1).String()); err != nil {
		t.Fatal(err)
	}
	r.wantNode(mac(1).String(), "web-01", r.node(mac(1).String()).State)
	if n := r.node(mac(2).String()); n.Replaced == nil || n.Slot != "" {
		t.Errorf("the replaced node is %+v", n)
	}
	if err := r.Forget(ctx, mac(2).String()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Node(mac(2).String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("forgotten node: %v", err)
	}
	if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name != "web-02" {
		t.Errorf("a forgotten machine is one never seen, got %+v", o)
	}
}

// TestServesOn: a DISCOVER with the MAC of a node that serves proves little. When nothing follows it, and the
// node still answers, it is ready again before anybody could take its slot.
func TestServesOn(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.now = r.now.Add(time.Second)
	spoof := roles.Sighting{MAC: mac(1), Time: r.now, Step: roles.StepDiscover, Boots: true}
	if err := r.Observe(t.Context(), []roles.Sighting{spoof}); err != nil {
		t.Fatal(err)
	}
	r.check(3, nil)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.now = r.now.Add(11 * time.Minute)
	r.check(2, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
}
