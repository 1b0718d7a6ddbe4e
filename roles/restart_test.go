package roles_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// has reports whether a node's events have one that contains text in its message or error.
func (r *rack) has(m roles.MAC, step roles.Step, text string) bool {
	evs, _ := r.Events(0, 0)
	return slices.ContainsFunc(evs, func(e roles.Event) bool {
		return e.Node == m && e.Step == step && strings.Contains(e.Message+e.Error, text)
	})
}

func (f *fleet) restartNode(key, why string) roles.Node {
	f.t.Helper()
	n, err := f.RestartNode(f.t.Context(), key, why)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// The node's own agent restarts it: nobody cuts its power.
func TestRestartByTheAgent(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.pass(1)
	n := f.restartNode("web-01", "new RAM")
	if n.Restart != "new RAM" || n.State != roles.StateBooting || n.Why != "restarts: new RAM" {
		t.Errorf("node %+v", n)
	}
	f.dead[mac(1)] = true // it shuts down
	f.pass(9)             // 54 s
	f.wantNode("web-01", "web-01", roles.StateBooting)
	f.dead[mac(1)] = false
	f.obey()
	f.pass(1)
	if n := f.wantNode("web-01", "web-01", roles.StateReady); n.Restart != "" {
		t.Errorf("it is still to restart: %+v", n)
	}
	if len(f.power.off) > 0 {
		t.Errorf("switched off: %v", f.power.off)
	}
	if !f.has(mac(1), roles.StepOperator, "asked to restart: new RAM") || !f.has(mac(1), roles.StepOperator, "restarted: new RAM") {
		t.Error("its events do not tell")
	}
}

// An agent that was asked, and whose machine does not restart, has a minute.
func TestRestartGrace(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.pass(1)
	f.restartNode("web-01", "x")
	f.pass(10) // the first look is 6 s after it was asked
	if len(f.power.off) > 0 {
		t.Fatalf("switched off after less than a minute: %v", f.power.off)
	}
	f.pass(1)
	if !slices.Equal(f.power.off, []string{mac(1).String()}) {
		t.Fatalf("switched off: %v", f.power.off)
	}
	f.pass(20)
	if len(f.power.off) != 1 {
		t.Errorf("the power of a machine that boots was cut again: %v", f.power.off)
	}
	if got := f.steps("web-01"); got != "operator power" {
		t.Errorf("timeline %s", got)
	}
}

// Where no agent answers the power is cut at once.
func TestRestartByPower(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.mute[mac(1)] = true
	f.pass(20)
	n := f.restartNode("web-01", "x")
	if n.Restart != "" || n.State != roles.StateBooting || !slices.Equal(f.power.off, []string{mac(1).String()}) {
		t.Errorf("node %+v, switched off %v", n, f.power.off)
	}
	if b, _ := f.Boot("web-01", 0); b.Events[0].Message != "restarted: x" || b.Events[1].Message != "power cycle" {
		t.Errorf("timeline %+v", b.Events)
	}
	f.powerOn(mac(1))
	f.pass(1)
	f.wantNode("web-01", "web-01", roles.StateReady)
	f.pass(20)
	f.power.err = errors.New("the PDU does not answer")
	if _, err := f.RestartNode(t.Context(), "web-01", ""); !errors.Is(err, f.power.err) {
		t.Errorf("got %v", err)
	}
	f.wantNode("web-01", "web-01", roles.StateReady)
	f.DefaultPower = ""
	if _, err := f.RestartNode(t.Context(), "web-01", ""); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "no power driver") {
		t.Errorf("got %v", err)
	}
	if _, err := f.RestartNode(t.Context(), "web-07", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A power driver that fails is asked again, not at every look.
func TestRestartByPowerFails(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.pass(1)
	f.power.err = errors.New("the PDU does not answer")
	f.restartNode("web-01", "x")
	f.mute[mac(1)] = true
	f.pass(12)
	if n := f.wantNode("web-01", "web-01", roles.StateBooting); !strings.Contains(n.Why, "the PDU does not answer") {
		t.Errorf("why %q", n.Why)
	}
	tried := 0
	evs, _ := f.Events(0, 0)
	for _, e := range evs {
		if strings.Contains(e.Error, "could not be restarted: roles: switch web-01 off: the PDU") {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("tried %d times within 12 s after the grace", tried)
	}
	f.power.err = nil
	f.pass(11)
	if len(f.power.off) != 1 {
		t.Errorf("not tried again: %v", f.power.off)
	}
}

// A node that was asked, and never restarts, serves on, and is found to.
func TestRestartThatNobodyDoes(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.DefaultPower = ""
	f.pass(1)
	f.restartNode("web-01", "x")
	for range 110 {
		f.pass(1)
		if n := f.node("web-01"); n.State == roles.StateReady {
			if n.Restart != "" || !f.has(mac(1), roles.StepFail, "it was asked to restart (x), and did not") {
				t.Errorf("node %+v", n)
			}
			return
		}
	}
	t.Errorf("node %+v", f.node("web-01"))
}

// What an operator does with a node that is to restart.
func TestRestartMeanwhile(t *testing.T) {
	f := newFleet(t, 2, 0)
	ctx := t.Context()
	f.pass(1)
	f.restartNode("web-01", "x")
	if _, err := f.Replace(ctx, "web-02", mac(1).String()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a machine that still runs as web-01 may become web-02: %v", err)
	}
	f.declare("roles: [{name: ntp}]\npools: [{name: ntp, role: ntp, addresses: 10.77.0.80-10.77.0.81}]")
	f.assign("web-01", "ntp")
	f.assign(mac(1).String(), "web")
	if n := f.wantNode("web-01", "web-01", roles.StateBooting); n.Restart != "x" {
		t.Errorf("assigned away and back: %+v", n)
	}
	f.SwitchPower(ctx, "web-01", roles.PowerOff)
	if n := f.node("web-01"); n.Restart != "" {
		t.Errorf("it is off, and to restart: %+v", n)
	}
	if _, err := f.RestartNode(ctx, "web-01", ""); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("got %v", err)
	}
	f.restartNode("web-02", "y")
	f.assign("web-02", "ntp")
	f.powerOn(mac(2))
	if n := f.wantNode(mac(2).String(), "ntp-01", roles.StateBooting); n.Restart != "" {
		t.Errorf("node %+v", n)
	}
}

// A server that has just started waits until the agents had time to speak, and then as long as any.
func TestRestartAfterAServerStart(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.pass(1)
	f.restartNode("web-01", "x")
	f.mute[mac(1)] = true
	f.now = f.now.Add(time.Hour)
	f.rec = &roles.Reconciler{Registry: f.Registry, Checker: f}
	f.rec.Watching(f.now)
	f.pass(5) // 30 s
	if len(f.power.off) > 0 {
		t.Fatalf("switched off: %v", f.power.off)
	}
	f.wantNode("web-01", "web-01", roles.StateBooting)
	f.pass(10)
	if len(f.power.off) != 1 {
		t.Errorf("switched off: %v", f.power.off)
	}
}

func TestSyncNode(t *testing.T) {
	f := newFleet(t, 1, 0)
	f.pass(1)
	rev := f.Revision()
	n, err := f.SyncNode(t.Context(), "web-01")
	if err != nil || n.Name != "web-01" {
		t.Fatalf("node %+v, %v", n, err)
	}
	select {
	case <-f.Watch(rev):
	default:
		t.Error("nobody is woken")
	}
	f.mute[mac(1)] = true
	f.pass(20)
	if _, err := f.SyncNode(t.Context(), "web-01"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without an agent: %v", err)
	}
	// What an agent said before the boot that goes on counts for nothing.
	f.mute[mac(1)] = false
	f.pass(1)
	f.powerOn(mac(1))
	if _, err := f.SyncNode(t.Context(), "web-01"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("after a restart: %v", err)
	}
}
