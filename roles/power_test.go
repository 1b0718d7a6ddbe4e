package roles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/roles"
)

// powered is a rack whose nodes are switched by a driver that remembers.
func powered(t *testing.T) (*rack, *switches) {
	r, s := newRack(t), &switches{on: map[string]bool{}}
	r.Power, r.DefaultPower = map[string]roles.Driver{"test": s}, "test"
	return r, s
}

func (r *rack) power(key string, a roles.PowerAction) bool {
	r.t.Helper()
	on, err := r.SwitchPower(r.t.Context(), key, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return on
}

// steps is a node's latest timeline in words.
func (r *rack) steps(key string) string {
	r.t.Helper()
	b, err := r.Boot(key, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, ev := range b.Events {
		out = append(out, string(ev.Step))
	}
	return strings.Join(out, " ")
}

func TestSwitchPower(t *testing.T) {
	r, s := powered(t)
	key := mac(1).String()
	if _, err := r.Assign(t.Context(), key, "web", ""); err != nil {
		t.Fatal(err)
	}
	if on := r.power(key, roles.PowerStatus); on {
		t.Error("on before it was switched on")
	}
	if on := r.power(key, roles.PowerOn); !on || !s.on[key] {
		t.Error("not switched on")
	}
	r.wantNode(key, "web-01", roles.StateBooting)
	first, _ := r.Boot(key, 0)
	r.power(key, roles.PowerOn)
	if b, _ := r.Boot(key, 0); b.ID != first.ID {
		t.Error("switching on a machine that is on began another boot")
	}
	r.powerOn(mac(1))
	if got := r.steps(key); got != "power discover script hello spec switch-root" {
		t.Errorf("the firmware's first packet belongs to the boot that Muster began: %s", got)
	}
	r.check(1, nil)
	r.wantNode(key, "web-01", roles.StateReady)
	r.power(key, roles.PowerOn)
	r.wantNode(key, "web-01", roles.StateReady)

	if on := r.power("web-01", roles.PowerOff); on || s.on[key] {
		t.Error("not switched off")
	}
	n := r.wantNode(key, "web-01", roles.StateOff)
	if n.Why != "switched off by an operator" {
		t.Errorf("why %q", n.Why)
	}
	// What is off on purpose is neither checked nor replaced.
	r.check(3, errors.New("no route to host"))
	r.now = r.now.Add(time.Hour)
	r.wantNode(key, "web-01", roles.StateOff)

	s.off = nil
	r.power(key, roles.PowerCycle)
	if !slices.Equal(s.off, []string{key}) || !s.on[key] {
		t.Errorf("cycle: off %v, on %v", s.off, s.on)
	}
	r.wantNode(key, "web-01", roles.StateBooting)
	if b, _ := r.Boot(key, 0); b.ID == first.ID || r.steps(key) != "power" || b.Events[0].Message != "power cycle" {
		t.Errorf("boot %+v", b)
	}
	r.power(key, roles.PowerOff)
	if b, _ := r.Boot(key, 0); b.Ended.IsZero() {
		t.Error("the boot of a machine that was switched off goes on")
	}
}

func TestSwitchPowerFails(t *testing.T) {
	r, s := powered(t)
	ctx, key := t.Context(), mac(1).String()
	r.powerOn(mac(1))
	if _, err := r.SwitchPower(ctx, mac(9).String(), roles.PowerOn); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := r.SwitchPower(ctx, key, "up"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("unknown action: %v", err)
	}
	s.err = errors.New("the PDU does not answer")
	before := r.Revision()
	for _, a := range []roles.PowerAction{roles.PowerOff, roles.PowerCycle, roles.PowerStatus} {
		if _, err := r.SwitchPower(ctx, key, a); !errors.Is(err, s.err) {
			t.Errorf("%s: %v", a, err)
		}
	}
	if r.Revision() != before {
		t.Error("a machine that was not switched off was recorded as off")
	}
	r.wantNode(key, "web-01", roles.StateBooting)
	r.DefaultPower = ""
	if _, err := r.SwitchPower(ctx, key, roles.PowerOff); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "has no power driver") {
		t.Errorf("no driver: %v", err)
	}
	r.declare(fmt.Sprintf("nodes: [{mac: %s, power: {driver: test, target: outlet 7}}]", key))
	s.err = nil
	if r.power(key, roles.PowerOff); !slices.Equal(s.off, []string{"outlet 7"}) {
		t.Errorf("switched off %v, want the node's own target", s.off)
	}
}

// A driver that cannot tell whether a machine is on must not make one of a machine that serves that boots.
func TestPowerOnWithoutStatus(t *testing.T) {
	r, s := powered(t)
	r.Power["test"] = blind{s}
	r.powerOn(mac(1))
	r.check(1, nil)
	r.power("web-01", roles.PowerOn)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.check(3, errors.New("connection refused"))
	r.power("web-01", roles.PowerOn)
	r.wantNode("web-01", "web-01", roles.StateBooting)
}

// blind is a driver like Wake-on-LAN.
type blind struct{ *switches }

func (blind) Status(context.Context, string) (bool, error) { return false, fs.ErrInvalid }

// A draining node that is switched off has nothing to wait for.
func TestPowerOffMovesADrainingNode(t *testing.T) {
	r, _ := powered(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	if _, err := r.Assign(t.Context(), "web-01", "ntp", ""); err != nil {
		t.Fatal(err)
	}
	r.power("web-01", roles.PowerOff)
	r.wantNode(mac(1).String(), "ntp-01", roles.StateOff)
	if p, _ := r.Pool("web"); p.Free != 50 {
		t.Errorf("%d slots of web are free", p.Free)
	}
}

// fail makes web-01's machine fail for so long that its slot may be taken.
func (r *rack) failWeb01() {
	r.t.Helper()
	r.powerOn(mac(1))
	r.check(1, nil)
	r.check(3, errors.New("connection refused"))
	r.wantNode(mac(1).String(), "web-01", roles.StateFailed)
	r.now = r.now.Add(time.Minute)
}

// witness looks at the rack in the moment in which a machine is switched off.
type witness struct {
	*switches
	look func()
}

func (w witness) Off(ctx context.Context, target string) error {
	w.look()
	return w.switches.Off(ctx, target)
}

func TestTakeoverSwitchesTheOldMachineOffFirst(t *testing.T) {
	r, s := powered(t)
	r.failWeb01()
	holder := roles.MAC{}
	r.Power["test"] = witness{s, func() { holder = r.node("web-01").MAC }}
	if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name != "web-01" {
		t.Fatalf("orders %+v", o)
	}
	if !slices.Equal(s.off, []string{mac(1).String()}) || holder != mac(1) {
		t.Errorf("switched off %v while %s had the slot; want the old machine, before the slot is given away", s.off, holder)
	}
	evs, _ := r.Events(0, 0)
	if !slices.ContainsFunc(evs, func(e roles.Event) bool {
		return e.Node == mac(1) && e.Step == roles.StepPower && strings.Contains(e.Message, "switched off: "+mac(2).String()+" takes over web-01")
	}) {
		t.Errorf("no event says why the machine was switched off: %+v", evs)
	}
}

// Machines that come at once and take what the others had in view: none takes a slot whose machine is on.
func TestTakeoversAtOnce(t *testing.T) {
	r, s := powered(t)
	const n = 8
	for i := range n {
		r.powerOn(mac(i + 1))
		s.on[mac(i+1).String()] = true
	}
	r.check(1, nil)
	r.check(3, errors.New("connection refused"))
	r.now = r.now.Add(time.Minute)
	var wg sync.WaitGroup
	slots := make([]string, n)
	for i := range n {
		wg.Go(func() {
			ticket, err := r.Script(t.Context(), mac(100+i), facts)
			if err != nil {
				t.Error(err)
			}
			slots[i] = ticket.Node.Slot
		})
	}
	wg.Wait()
	slices.Sort(slots)
	if got := strings.Join(slots, " "); got != "web-01 web-02 web-03 web-04 web-05 web-06 web-07 web-08" {
		t.Errorf("they have %s", got)
	}
	if len(s.off) != n {
		t.Errorf("switched off %v", s.off)
	}
	for i := range n {
		if s.on[mac(i+1).String()] {
			t.Errorf("%s is on, and its slot is taken", mac(i+1))
		}
	}
}

// Where the old machine cannot be switched off, the rebuild goes on: the agent looks whether the address is in use.
func TestTakeoverWithoutPower(t *testing.T) {
	r, s := powered(t)
	r.failWeb01()
	s.err = errors.New("the PDU does not answer")
	if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name != "web-01" {
		t.Fatalf("orders %+v", o)
	}
	evs, _ := r.Events(0, 0)
	if !slices.ContainsFunc(evs, func(e roles.Event) bool {
		return e.Node == mac(1) && strings.Contains(e.Error, "do it by hand: the PDU")
	}) {
		t.Errorf("no event says that the old machine is still on: %+v", evs)
	}
}

// Nobody but a machine that boots, with its token, gets another one switched off.
func TestWhoMayHaveAMachineSwitchedOff(t *testing.T) {
	r, s := powered(t)
	ctx := t.Context()
	ticket, _ := r.powerOn(mac(3))
	if _, err := r.Release(ctx, mac(3).String()); err != nil { // it waits in its agent
		t.Fatal(err)
	}
	r.failWeb01()
	for _, token := range []string{"", "forged"} {
		if _, err := r.Hello(ctx, mac(2), token, kernel, 0, facts); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("hello: %v", err)
		}
		if _, err := r.Orders(ctx, mac(3), token); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("poll: %v", err)
		}
	}
	// Neither DHCP, which must not wait, nor an operator's assignment: the machine may never boot.
	if _, err := r.Assign(ctx, mac(2).String(), "web", ""); err != nil {
		t.Fatal(err)
	}
	if n := r.wantNode(mac(2).String(), "", roles.StateOff); !strings.Contains(n.Why, "takes over web-01 when it boots") {
		t.Errorf("why %q", n.Why)
	}
	r.HostOf(ctx, mac(2), true)
	if len(s.off) > 0 {
		t.Fatalf("switched off %v", s.off)
	}
	if r.Placeable(mac(3)) {
		t.Error("a released node is placeable")
	}
	if _, err := r.Assign(ctx, mac(3).String(), "web", ""); err != nil {
		t.Fatal(err)
	}
	if !r.Placeable(mac(3)) {
		t.Error("a node that may take a failed one's slot is not placeable")
	}
	o, err := r.Orders(ctx, mac(3), ticket.Boot.Token)
	if err != nil || o.Slot == nil || o.Slot.Name != "web-01" || !slices.Equal(s.off, []string{mac(1).String()}) {
		t.Errorf("orders %+v, %v; switched off %v", o, err, s.off)
	}
}

// A draining machine that restarts into the slot of a failed one is told so by its script, not by DHCP.
func TestDrainingNodeTakesOver(t *testing.T) {
	r, s := powered(t)
	r.failWeb01()
	r.declare("pools: [{name: web, role: web, size: {max: 1}, addresses: 10.77.0.20-10.77.0.69}]")
	if _, err := r.Assign(t.Context(), mac(2).String(), "ntp", ""); err != nil {
		t.Fatal(err)
	}
	r.powerOn(mac(2))
	r.check(1, nil)
	r.declare("pools: [{name: web, role: web, size: {max: 2}, addresses: 10.77.0.20-10.77.0.69}]")
	if _, err := r.Assign(t.Context(), "ntp-01", "web", ""); err != nil {
		t.Fatal(err)
	}
	r.check(3, errors.New("connection refused"))
	r.now = r.now.Add(time.Minute)
	if name, _, _ := r.HostOf(t.Context(), mac(2), true); name != "ntp-01" || len(s.off) > 0 {
		t.Errorf("DHCP gives %s, switched off %v", name, s.off)
	}
	if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name != "web-01" || len(s.off) != 1 {
		t.Errorf("orders %+v, switched off %v", o, s.off)
	}
}

func TestReplace(t *testing.T) {
	r, s := powered(t)
	ctx := t.Context()
	r.powerOn(mac(1))
	r.check(1, nil)
	r.powerOn(mac(2)) // has its spec: it is about to run as web-02
	if _, err := r.Replace(ctx, "web-01", mac(2).String()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replaced by a machine that runs as another: %v", err)
	}
	r.check(1, nil)
	if _, err := r.Replace(ctx, "web-01", mac(2).String()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replaced by a machine that serves as another: %v", err)
	}
	if len(s.off) > 0 {
		t.Errorf("switched off %v for nothing", s.off)
	}
	for _, c := range []struct {
		old, new string
		kind     error
	}{{"web-03", mac(3).String(), fs.ErrNotExist}, {"web-01", "web-02", fs.ErrInvalid}, {"web-01", mac(1).String(), fs.ErrInvalid}} {
		if _, err := r.Replace(ctx, c.old, c.new); !errors.Is(err, c.kind) {
			t.Errorf("replace %s %s: %v", c.old, c.new, err)
		}
	}
	r.power("web-02", roles.PowerOff)
	s.off = nil
	n, err := r.Replace(ctx, "web-01", mac(2).String())
	if err != nil || n.Slot != "web-01" || n.State != roles.StateOff || !slices.Equal(s.off, []string{mac(1).String()}) {
		t.Errorf("node %+v, %v; switched off %v", n, err, s.off)
	}
	old := r.wantNode(mac(1).String(), "", roles.StateWaiting)
	if old.Replaced == nil || old.Replaced.By != mac(2) {
		t.Errorf("the old machine %+v", old)
	}
	if _, err := r.Replace(ctx, mac(1).String(), mac(3).String()); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("replaced a node that has no slot: %v", err)
	}
}

// hasty is a driver whose operator goes away as soon as the machine is off.
type hasty struct {
	*switches
	leave context.CancelFunc
}

func (h hasty) Off(ctx context.Context, target string) error {
	defer h.leave()
	return h.switches.Off(ctx, target)
}

func (h hasty) On(ctx context.Context, target string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return h.switches.On(ctx, target)
}

// A machine that was switched off to be switched on again is not left off, whoever stops waiting for it.
func TestCycleIsWhole(t *testing.T) {
	r, s := powered(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	ctx, leave := context.WithCancel(t.Context())
	r.Power["test"] = hasty{s, leave}
	if _, err := r.SwitchPower(ctx, "web-01", roles.PowerCycle); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil || !s.on[mac(1).String()] {
		t.Error("the machine is off")
	}
	if n := r.wantNode("web-01", "web-01", roles.StateBooting); n.Restart != "" {
		t.Errorf("node %+v", n)
	}
	if got := r.steps("web-01"); got != "power" {
		t.Errorf("timeline %s", got)
	}
}
