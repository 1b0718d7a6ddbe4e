package roles_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/roles"
)

var errRefused = errors.New("connection refused")

// probe is a Checker that notes when it was asked, and says what the test wants.
type probe struct {
	now    func() time.Time
	asked  []time.Time
	answer error
	during func() // what happens while it looks
}

func (p *probe) Check(context.Context, roles.Health, roles.Node) error {
	p.asked = append(p.asked, p.now())
	if p.during != nil {
		p.during()
	}
	return p.answer
}

// watch lets the reconciler look once a second for so long, and gives the seconds in which it asked.
func (r *rack) watch(p *probe, seconds int) (asked []int) {
	r.t.Helper()
	p.asked, p.now = nil, func() time.Time { return r.now }
	c, last, began := &roles.Reconciler{Registry: r.Registry, Checker: p}, map[roles.MAC]time.Time{}, r.now
	for range seconds {
		if err := c.Pass(r.t.Context(), last); err != nil {
			r.t.Fatal(err)
		}
		r.now = r.now.Add(time.Second)
	}
	for _, at := range p.asked {
		asked = append(asked, int(at.Sub(began).Seconds()))
	}
	return asked
}

func TestHealthInterval(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	if asked := r.watch(&probe{answer: errRefused}, 3); !slices.Equal(asked, []int{0, 1, 2}) {
		t.Errorf("a node that comes up is asked at %v, want every second", asked)
	}
	r.check(1, nil)
	if asked := r.watch(&probe{}, 11); !slices.Equal(asked, []int{0, 5, 10}) {
		t.Errorf("a ready node is asked at %v, want every 5 s", asked)
	}
	r.declare("roles: [{name: web, health: {http: {}, interval: 3s, failures: 2}}]")
	if asked := r.watch(&probe{answer: errRefused}, 3); len(asked) != 1 {
		t.Fatalf("asked at %v", asked)
	}
	r.wantNode("web-01", "web-01", roles.StateReady)
	if asked := r.watch(&probe{answer: errRefused}, 7); !slices.Equal(asked, []int{0, 3, 6}) {
		t.Errorf("asked at %v, want every 3 s", asked)
	}
	n := r.wantNode("web-01", "web-01", roles.StateFailed)
	if n.Why != "2 health checks in a row failed: connection refused" {
		t.Errorf("why %q", n.Why)
	}
	// A dead node is asked again and again; that is nothing to write down.
	before := r.Revision()
	r.watch(&probe{answer: errRefused}, 30)
	if r.Revision() != before {
		t.Error("every check of a dead node is written")
	}
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
}

func TestFailuresInARow(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	for range 3 {
		r.check(2, errRefused)
		r.check(1, nil)
	}
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.check(2, errRefused)
	if n := r.wantNode("web-01", "web-01", roles.StateReady); n.Failures != 2 {
		t.Errorf("%d failures", n.Failures)
	}
	r.check(1, errRefused)
	r.wantNode("web-01", "web-01", roles.StateFailed)
}

// A role without a check is ready when its image takes over, and never fails by itself.
func TestNoHealthCheck(t *testing.T) {
	r := newRack(t)
	r.declare("roles: [{name: web}]")
	ticket, _ := r.hello(mac(1))
	p := &probe{answer: errRefused}
	r.watch(p, 60)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 65 * time.Second, Step: roles.StepSwitchRoot})
	r.watch(p, 1)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.watch(p, 60)
	r.wantNode("web-01", "web-01", roles.StateReady)
	if len(p.asked) > 0 {
		t.Error("it was checked")
	}
}

func TestNotReadyYet(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.watch(&probe{answer: errRefused}, 30)
	if n := r.wantNode("web-01", "web-01", roles.StateBooting); n.Why != "its service does not answer yet: connection refused" {
		t.Errorf("why %q", n.Why)
	}
	if got := r.steps("web-01"); strings.Contains(got, "health") {
		t.Errorf("the timeline complains too early: %s", got)
	}
	r.watch(&probe{answer: errRefused}, 120)
	if got := r.steps("web-01"); got != "discover script hello spec switch-root health" {
		t.Errorf("timeline %s; want one line on why it is not ready", got)
	}
	r.watch(&probe{answer: errRefused}, 600)
	n := r.wantNode("web-01", "web-01", roles.StateFailed)
	if !strings.Contains(n.Why, "no sign of life since step switch-root") || !strings.Contains(n.Why, "connection refused") {
		t.Errorf("why %q", n.Why)
	}
	// It came up after all.
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
	if b, _ := r.Boot("web-01", 0); !b.Ready {
		t.Errorf("boot %+v", b)
	}
}

// What answers at a slot's address before the new machine can is the old one.
func TestTheOldMachineAnswers(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.watch(&probe{}, 20)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 30 * time.Second, Step: roles.StepNetwork, Error: "10.77.0.20 is in use"})
	r.watch(&probe{}, 120)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 2, Uptime: 160 * time.Second, Step: roles.StepSwitchRoot})
	r.watch(&probe{}, 1)
	r.wantNode("web-01", "web-01", roles.StateReady)
}

// The agent's last words may be lost with the server that they were for; the service tells.
func TestLostWords(t *testing.T) {
	r := newRack(t)
	r.hello(mac(1))
	r.watch(&probe{}, 29)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.watch(&probe{}, 3)
	r.wantNode("web-01", "web-01", roles.StateReady)
}

// A machine that announced a restart and never came back has failed.
func TestRestartThatNeverComes(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 9 * time.Second, Step: roles.StepReboot, Message: "another kernel"})
	r.check(1, nil)
	if n := r.wantNode("web-01", "web-01", roles.StateBooting); n.Why != "another kernel" {
		t.Errorf("why %q", n.Why)
	}
	r.now = r.now.Add(11 * time.Minute)
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateFailed)
}

// An agent that has its troubles, and asks on, is not silent; its rare reports are no measure.
func TestAgentThatAsksIsAlive(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Uptime: 9 * time.Second, Step: roles.StepRoot, Error: "connection refused"})
	for range 20 {
		r.now = r.now.Add(time.Minute)
		if _, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil {
			t.Fatal(err)
		}
		r.check(1, errRefused)
	}
	r.wantNode("web-01", "web-01", roles.StateBooting)
}

// While no server ran, nobody heard what machines said.
func TestServerThatWasAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRack(t)
		r.Now = time.Now
		if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			c := &roles.Reconciler{Registry: r.Registry, Checker: verdict{nil}}
			done <- c.Run(ctx)
		}()
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		r.wantNode("web-01", "web-01", roles.StateBooting)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantNode("web-01", "web-01", roles.StateFailed)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The outcome of a check that is overtaken counts for nothing.
func TestOvertakenCheck(t *testing.T) {
	for name, c := range map[string]struct {
		answer  error
		happens func(r *rack)
		want    roles.State
	}{
		"a restart, passed":         {nil, func(r *rack) { r.see(roles.StepDiscover, 5*time.Minute, true) }, roles.StateBooting},
		"a restart, failed":         {errRefused, func(r *rack) { r.see(roles.StepDiscover, 5*time.Minute, true) }, roles.StateBooting},
		"an assignment":             {nil, func(r *rack) { r.assign("web-01", "ntp") }, roles.StateDraining},
		"an assignment, failed":     {errRefused, func(r *rack) { r.assign("web-01", "ntp") }, roles.StateDraining},
		"a release":                 {errRefused, func(r *rack) { _, _ = r.Release(r.t.Context(), "web-01") }, roles.StateWaiting},
		"switched off":              {errRefused, func(r *rack) { r.power("web-01", roles.PowerOff) }, roles.StateOff},
		"an announcement, passed":   {nil, func(r *rack) { r.restart() }, roles.StateBooting},
		"nothing that matters here": {nil, func(r *rack) { r.see(roles.StepLease, 5*time.Minute, true) }, roles.StateReady},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := powered(t)
			r.powerOn(mac(1))
			if c.answer != nil {
				r.check(1, nil)
				r.check(2, errRefused)
			}
			once := false
			r.now = noon.Add(5 * time.Minute)
			r.watch(&probe{answer: c.answer, during: func() {
				if !once {
					once = true
					c.happens(r)
				}
			}}, 1)
			if n := r.node(mac(1).String()); n.State != c.want || n.Failures > 2 {
				t.Errorf("%s with %d failures (%s), want %s", n.State, n.Failures, n.Why, c.want)
			}
		})
	}
	t.Run("forgotten", func(t *testing.T) {
		r := newRack(t)
		r.powerOn(mac(1))
		r.watch(&probe{during: func() { _ = r.Forget(t.Context(), "web-01") }}, 1)
		if _, err := r.Node(mac(1).String()); err == nil {
			t.Error("a check brought a forgotten node back")
		}
	})
}

// A silent node that is assigned elsewhere while others are checked drains: it must not fail and lose that.
func TestOvertakenSilence(t *testing.T) {
	r := newRack(t)
	if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(11 * time.Minute)
	r.powerOn(mac(2))
	r.watch(&probe{during: func() { r.assign("web-01", "ntp") }}, 1)
	r.wantNode("web-01", "web-01", roles.StateDraining)
}

// A node that served for long, and now restarts as something else, has just been heard of.
func TestMoveIsASignOfLife(t *testing.T) {
	r := newRack(t)
	r.powerOn(mac(1))
	r.check(1, nil)
	r.assign("web-01", "ntp")
	r.now = r.now.Add(24 * time.Hour)
	if name, _, _ := r.HostOf(t.Context(), mac(1), true); name != "ntp-01" {
		t.Errorf("DHCP gives %q", name)
	}
	r.watch(&probe{}, 5) // before the recorder has written the DISCOVER
	r.wantNode("ntp-01", "ntp-01", roles.StateBooting)
}

func (r *rack) assign(key, pool string) {
	r.t.Helper()
	if _, err := r.Assign(r.t.Context(), key, pool, ""); err != nil {
		r.t.Fatal(err)
	}
}

// restart lets machine 1's agent announce one.
func (r *rack) restart() {
	r.t.Helper()
	token := ""
	_ = r.Store.View(func(tx roles.Tx) error {
		n, _ := tx.Nodes().Get(mac(1))
		b, _ := tx.Boots().Get(n.Boot)
		token = b.Token
		return nil
	})
	r.report(mac(1), token, roles.Reported{Seq: 99, Step: roles.StepReboot, Message: "another kernel"})
}
