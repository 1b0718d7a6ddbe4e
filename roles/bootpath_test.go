package roles_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

func (r *rack) boot(key string) roles.Boot {
	r.t.Helper()
	b, err := r.Boot(key, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// A boot that was given up goes on when its agent speaks after all: big machines take their time.
func TestBootThatWasGivenUp(t *testing.T) {
	for name, speak := range map[string]func(r *rack, token string){
		"hello": func(r *rack, token string) {
			if _, err := r.Hello(r.t.Context(), mac(1), token, kernel, time.Minute, facts); err != nil {
				r.t.Fatal(err)
			}
		},
		"poll": func(r *rack, token string) {
			if _, err := r.Orders(r.t.Context(), mac(1), token); err != nil {
				r.t.Fatal(err)
			}
		},
		"report": func(r *rack, token string) {
			r.report(mac(1), token, roles.Reported{Seq: 1, Uptime: 20 * time.Minute, Step: roles.StepRoot})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRack(t)
			ticket, _ := r.hello(mac(1))
			r.now = r.now.Add(12 * time.Minute)
			r.check(1, nil)
			r.wantNode("web-01", "web-01", roles.StateFailed)
			r.now = r.now.Add(time.Second)
			speak(r, ticket.Boot.Token)
			r.wantNode("web-01", "web-01", roles.StateBooting)
			if b := r.boot("web-01"); !b.Ended.IsZero() || b.ID != ticket.Boot.ID {
				t.Errorf("boot %+v", b)
			}
			r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 2, Uptime: 21 * time.Minute, Step: roles.StepSwitchRoot})
			r.check(1, nil)
			r.wantNode("web-01", "web-01", roles.StateReady)
			if b := r.boot("web-01"); !b.Ready || b.Ended.IsZero() {
				t.Errorf("boot %+v", b)
			}
		})
	}
}

// What an agent reports late, about the time before its boot's end, changes the timeline alone.
func TestReportAfterTheEnd(t *testing.T) {
	r, _ := powered(t)
	ticket, _ := r.hello(mac(1))
	up := func(at time.Duration) time.Duration { return at - r.now.Sub(noon) + 4*time.Second } // hello was 4 s after the kernel's start
	late, later := up(10*time.Second), up(5*time.Minute)
	r.now = noon.Add(20 * time.Second)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: late, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 2, Uptime: late, Step: roles.StepFail, Error: "x"})
	r.wantNode("web-01", "web-01", roles.StateReady)
	if got := r.steps("web-01"); got != "discover script hello spec switch-root ready fail" {
		t.Errorf("timeline %s", got)
	}
	// Its agent runs on: what answered was another machine.
	r.now = noon.Add(5 * time.Minute)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 3, Uptime: later, Step: roles.StepNetwork, Error: "10.77.0.20 is in use"})
	r.wantNode("web-01", "web-01", roles.StateBooting)
	if b := r.boot("web-01"); b.Ready || !b.Ended.IsZero() {
		t.Errorf("boot %+v", b)
	}

	r.now = noon.Add(10 * time.Minute)
	r.power("web-01", roles.PowerOff)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 4, Uptime: later, Step: roles.StepNetwork})
	r.wantNode("web-01", "web-01", roles.StateOff)
}

// A poll is answered late: it must not undo that the machine was switched off meanwhile.
func TestPollAfterPowerOff(t *testing.T) {
	r, _ := powered(t)
	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	ticket, _ := r.hello(mac(1))
	key := mac(1).String()
	r.wantNode(key, "", roles.StateWaiting)
	r.power(key, roles.PowerOff)
	r.now = r.now.Add(25 * time.Second)
	if o, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil || o.Wait == "" {
		t.Errorf("orders %+v, %v", o, err)
	}
	r.wantNode(key, "", roles.StateOff)
	// One that still asks after that is on.
	r.now = r.now.Add(25 * time.Second)
	if _, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil {
		t.Fatal(err)
	}
	r.wantNode(key, "", roles.StateWaiting)
}

// A node waits since it began to, however often its agent asks.
func TestWaitingSince(t *testing.T) {
	r := newRack(t)
	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	ticket, _ := r.hello(mac(1))
	since := r.node(mac(1).String()).Since
	for range 5 {
		r.now = r.now.Add(25 * time.Second)
		if _, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.wantNode(mac(1).String(), "", roles.StateWaiting); !n.Since.Equal(since) || !n.LastSeen.Equal(r.now) {
		t.Errorf("it waits since %s, last seen %s; want %s and %s", n.Since, n.LastSeen, since, r.now)
	}
	if got := r.steps(mac(1).String()); got != "discover script hello wait" {
		t.Errorf("timeline %s", got)
	}
}

// A draining node whose boot fails is still on its way: it must not lose what it was assigned to.
func TestDrainingNodeFails(t *testing.T) {
	for _, step := range []roles.Step{roles.StepFail, roles.StepReboot} {
		r := newRack(t)
		ticket, _ := r.hello(mac(1))
		r.assign("web-01", "ntp")
		r.wantNode("web-01", "web-01", roles.StateDraining)
		r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 9 * time.Second, Step: step, Error: "no root"})
		r.wantNode("web-01", "web-01", roles.StateDraining)
		r.now = r.now.Add(time.Hour)
		r.check(1, nil)
		if _, o := r.powerOn(mac(2)); o.Slot == nil || o.Slot.Name == "web-01" {
			t.Errorf("%s: its slot was taken: %+v", step, o)
		}
		if _, o := r.powerOn(mac(1)); o.Slot == nil || o.Slot.Name != "ntp-01" {
			t.Errorf("%s: orders %+v", step, o)
		}
	}
}

// A machine whose agent ran and that fetches its script again has been reset: its old token is worth nothing.
func TestResetThatDHCPMissed(t *testing.T) {
	r := newRack(t)
	first, _ := r.hello(mac(1))
	second, err := r.Script(t.Context(), mac(1), facts)
	if err != nil || second.Boot.ID == first.Boot.ID || second.Boot.Token == first.Boot.Token {
		t.Fatalf("%+v, %v: the boot before goes on", second.Boot, err)
	}
	if _, err := r.Orders(t.Context(), mac(1), first.Boot.Token); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the last boot's token: %v", err)
	}
	// The new agent counts its events from 1.
	r.now = r.now.Add(time.Minute)
	if _, err := r.Hello(t.Context(), mac(1), second.Boot.Token, kernel, time.Second, facts); err != nil {
		t.Fatal(err)
	}
	r.report(mac(1), second.Boot.Token, roles.Reported{Seq: 1, Uptime: 2 * time.Second, Step: roles.StepRoot})
	if got := r.steps("web-01"); got != "script hello spec root" {
		t.Errorf("timeline %s", got)
	}
}

// A machine that is forgotten while it waits in its agent is told like one with an old token: it restarts.
func TestForgottenInTheAgent(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	if err := r.Forget(t.Context(), "web-01"); err != nil {
		t.Fatal(err)
	}
	if !r.Placeable(mac(1)) {
		t.Error("nobody tells it")
	}
	if _, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("poll: %v", err)
	}
	if err := r.Report(t.Context(), mac(1), ticket.Boot.Token, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("report: %v", err)
	}
}

// A machine that cannot count its seconds tells neither of the future nor of another boot.
func TestUptimeThatCannotBe(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	for i, up := range []time.Duration{-time.Hour, 0, 1000 * time.Hour, time.Nanosecond} {
		r.now = r.now.Add(time.Second)
		r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: i + 1, Uptime: up, Step: roles.StepRoot})
	}
	b := r.boot("web-01")
	for _, ev := range b.Events {
		if ev.Time.Before(b.Started) || ev.Time.After(r.now) {
			t.Errorf("%s happened at %s; the boot began at %s, and now is %s", ev.Step, ev.Time, b.Started, r.now)
		}
	}
}

// Steps that a server notes are not a machine's to report.
func TestStepsOfTheServer(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	for _, step := range []roles.Step{roles.StepReady, roles.StepHealth, roles.StepOperator, roles.StepStorage, roles.StepFence, roles.StepPower, roles.StepSpec, roles.StepDiscover, "", roles.Step(strings.Repeat("x", 100))} {
		err := r.Report(t.Context(), mac(1), ticket.Boot.Token, []roles.Reported{{Seq: 1, Step: step}})
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("step %q: %v", step, err)
		}
	}
	if got := r.steps("web-01"); got != "discover script hello spec" {
		t.Errorf("timeline %s", got)
	}
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: "firmware"}) // of a newer agent
	if b := r.boot("web-01"); b.Step != roles.StepSpec || len(b.Events) != 5 {
		t.Errorf("boot %+v", b)
	}
}

// A slot that is taken while a machine is on its way there is no reason to stop serving. When it boots it
// waits, and says what for.
func TestMoveToAFullPool(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	if _, err := r.Assign(t.Context(), "web-01", "ntp", "ntp-01"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Assign(t.Context(), mac(2).String(), "ntp", "ntp-01"); err != nil {
		t.Fatal(err)
	}
	r.check(1, nil)
	r.wantNode(mac(1).String(), "web-01", roles.StateDraining)
	_, o := r.powerOn(mac(1))
	if !strings.Contains(o.Wait, "it is assigned to slot ntp-01, which "+mac(2).String()+" occupies") {
		t.Errorf("orders %+v", o)
	}
	r.wantNode(mac(1).String(), "", roles.StateWaiting)
}

func TestPlaceable(t *testing.T) {
	r := newRack(t)
	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	r.hello(mac(1))
	want := func(ok bool, when string) {
		t.Helper()
		before := r.Revision()
		if got := r.Placeable(mac(1)); got != ok {
			t.Errorf("%s: placeable is %v", when, got)
		}
		if r.Revision() != before {
			t.Errorf("%s: a question changed the rack", when)
		}
	}
	want(false, "no rule takes it")
	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69, match: {labels: {rack: a1}}}]")
	want(false, "the rule wants a label")
	r.declare("nodes: [{mac: 52:54:00:aa:00:01, labels: {rack: a1}}]")
	want(true, "it has the label")
	r.Images = notBuilt{}
	want(false, "the image is not built")
	r.Images = published{}
	r.declare("nodes: [{mac: 52:54:00:aa:00:01}]")
	r.assign(mac(1).String(), "ntp")
	want(true, "it was assigned")
	if _, err := r.Release(t.Context(), "ntp-01"); err != nil {
		t.Fatal(err)
	}
	want(false, "it was released")
	if err := r.Forget(t.Context(), mac(1).String()); err != nil {
		t.Fatal(err)
	}
	want(true, "it was forgotten")
}
