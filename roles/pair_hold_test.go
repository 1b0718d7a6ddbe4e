package roles_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
)

// webMAC is a machine of the pool that has its storage on the pair.
var webMAC = roles.MAC{0x52, 0x54, 0, 0xaa, 1, 1}

// health lets the reconciler look once a second for so long, with web machines that answer so; the pair is kept alive
// where alive is set.
func (p *pairRack) health(seconds int, alive bool, answer error) {
	p.t.Helper()
	c, last := &roles.Reconciler{Registry: p.Registry, Checker: webVerdict{answer}}, map[roles.MAC]time.Time{}
	for range seconds {
		if alive {
			p.run()
		}
		p.now = p.now.Add(time.Second)
		if err := c.Pass(p.t.Context(), last); err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestStorageExcuses(t *testing.T) {
	p := wholePair(t)
	p.boot(webMAC)
	p.health(90, true, nil)
	p.wantNode("web-01", "web-01", roles.StateReady)
	p.health(120, false, errRefused) // the pair is away
	if n := p.wantNode("web-01", "web-01", roles.StateReady); n.Failures > 1 {
		t.Errorf("%d failures counted", n.Failures)
	}
	p.health(59, true, errRefused)
	p.wantNode("web-01", "web-01", roles.StateReady)
	p.health(25, true, errRefused)
	p.wantNode("web-01", "web-01", roles.StateFailed)
	// One that comes up waits for its storage as long as that takes.
	p.health(20, true, nil)
	p.hello(webMAC)
	p.health(1200, false, errRefused)
	p.wantNode("web-01", "web-01", roles.StateBooting)
}

// A half that is active, and whose volume is frozen until the other one is fenced, serves nobody.
func TestFrozenServesNobody(t *testing.T) {
	p := wholePair(t)
	p.boot(webMAC)
	p.health(90, true, nil)
	frozen := cluster("DATA-1", "m1", true)
	frozen.Frozen, frozen.Connection = true, "WFConnection"
	c, last := &roles.Reconciler{Registry: p.Registry, Checker: webVerdict{errRefused}}, map[roles.MAC]time.Time{}
	for range 60 {
		p.says(st1, frozen)
		p.now = p.now.Add(time.Second)
		if err := c.Pass(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	p.wantNode("web-01", "web-01", roles.StateReady)
	if v := p.pair(); v.Serving || !strings.Contains(v.Why, "storage-01 holds up all reads and writes until storage-02 is fenced or back") {
		t.Errorf("%s, serving %v: %s", v.State, v.Serving, v.Why)
	}
}

func TestRolloutOfPair(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	if _, err := p.StartRollout(t.Context(), "storage", roles.RolloutOptions{Image: images.Ref{Name: "storage", Version: 2}, Batch: 2}); err != nil {
		t.Fatal(err)
	}
	p.tick(0)
	if p.node("storage-01").Restart != "" || p.node("storage-02").Restart == "" {
		t.Fatal("the half that serves does not go last")
	}
	p.boot(st2)
	late := cluster("DATA-2", "m2", false)
	late.DiskState, late.Connection = "Inconsistent", "SyncTarget"
	for range 10 {
		p.says(st1, cluster("DATA-1", "m1", true))
		p.says(st2, late)
		p.tick(5 * time.Second)
	}
	p.wantNode("storage-02", "storage-02", roles.StateReady)
	ro, err := p.Rollout("storage")
	if err != nil || p.node("storage-01").Restart != "" || ro.Why != "waits: the pair storage is not whole (muster storage status storage)" {
		t.Fatalf("goes on while the pair syncs: %+v, %v", ro, err)
	}
	p.run()
	p.tick(time.Second)
	if p.node("storage-01").Restart == "" {
		t.Error("does not go on when the pair is whole")
	}
	p.boot(st1)
	p.says(st2, p.alone("DATA-2", "m2"))
	p.tick(5 * time.Second)
	p.tick(5 * time.Second)
	if ro, _ = p.Rollout("storage"); ro.State != roles.RolloutDone {
		t.Errorf("rollout %+v", ro)
	}
}

func TestRolloutOfUsers(t *testing.T) {
	p := wholePair(t)
	p.boot(webMAC)
	p.health(90, true, nil)
	p.tick(time.Minute)
	if _, err := p.StartRollout(t.Context(), "web", roles.RolloutOptions{Image: images.Ref{Name: "web", Version: 2}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.tick(time.Second)
	}
	before := p.Revision()
	p.tick(20 * time.Minute)
	ro, _ := p.Rollout("web")
	if p.node("web-01").Restart != "" || !strings.HasPrefix(ro.Why, "waits: the storage pair storage does not serve") || p.Revision() != before {
		t.Fatalf("rollout %+v", ro)
	}
	p.run()
	p.tick(time.Second)
	if p.node("web-01").Restart == "" {
		t.Errorf("rollout %+v", ro)
	}
	p.boot(webMAC)
	p.health(30, true, nil)
	if ro, _ = p.Rollout("web"); ro.State != roles.RolloutDone {
		t.Errorf("rollout %+v", ro)
	}
}

// A pool is moved to other storage by one line and a rollout, with the image that it has.
func TestRolloutMovesStorage(t *testing.T) {
	p := wholePair(t)
	p.boot(webMAC)
	p.health(90, true, nil)
	if n := p.node("web-01"); n.Storage != "storage" {
		t.Fatalf("it mounts from %q", n.Storage)
	}
	roll := func() error {
		_, err := p.StartRollout(t.Context(), "web", roles.RolloutOptions{})
		return err
	}
	if err := roll(); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("nothing would change: %v", err)
	}
	for _, yaml := range []string{strings.Replace(pairYAML, " storage: storage,", "", 1), pairYAML} {
		p.declare(yaml)
		if err := roll(); err != nil {
			t.Fatal(err)
		}
		p.run()
		p.tick(time.Second)
		if p.node("web-01").Restart == "" {
			t.Fatal("it is not restarted")
		}
		p.boot(webMAC)
		p.health(30, true, nil)
		if ro, _ := p.Rollout("web"); ro.State != roles.RolloutDone {
			t.Errorf("rollout %+v", ro)
		}
		if err := roll(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("again: %v", err)
		}
	}
}

// A machine that nobody knows takes the place of a half that is dead.
func TestNewHalf(t *testing.T) {
	dead := func() *pairRack {
		p := wholePair(t)
		p.alive(time.Minute)
		for range 20 { // 02 is dead, and nobody has switched it off
			p.says(st1, p.alone("DATA-1", "m1"))
			p.now = p.now.Add(5 * time.Second)
			if err := p.rec.Pass(t.Context(), map[roles.MAC]time.Time{}); err != nil {
				t.Fatal(err)
			}
			if p.rec.Checker = (slotVerdict{"storage-02", errRefused}); p.node("storage-02").State == roles.StateFailed {
				break
			}
		}
		p.wantNode("storage-02", "storage-02", roles.StateFailed)
		p.now = p.now.Add(31 * time.Second)
		return p
	}
	third := mac(3)
	p := dead()
	p.power.err = errPDU
	if _, err := p.Script(t.Context(), third, facts); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "may still run and cannot be switched off") {
		t.Errorf("a half that may still run is replaced: %v", err)
	}
	p.wantTold("muster node release " + st2.String())
	p.wantNode("storage-02", "storage-02", roles.StateFailed)
	p.power.err = nil
	p.boot(third)
	p.wantNode(third.String(), "storage-02", roles.StateBooting)
	if p.power.on[st2.String()] {
		t.Error("the dead one may still run")
	}
	p.says(st1, p.alone("DATA-1", "m1"))
	if o := p.says(third, blank("DATA-3")); o.Make != "DATA-3" {
		t.Errorf("orders %+v", o)
	}
	_, err := p.PairReport(t.Context(), st2, key(p.keys[st2]), cluster("DATA-2", "m2", true))
	p.wantDenied("the one that was replaced", err)

	// One that was fenced, and is not to be switched on any more, is as good as dead.
	p = wholePair(t)
	p.alive(time.Minute)
	if err := p.fence(st1); err != nil {
		t.Fatal(err)
	}
	p.says(st1, p.alone("DATA-1", "m1"))
	p.power.err = errPDU
	p.tick(time.Second)
	p.wantNode("storage-02", "storage-02", roles.StateFailed)
	p.wantTold("was fenced, and could not be switched on again")
	p.now = p.now.Add(31 * time.Second)
	p.boot(third)
	p.wantNode(third.String(), "storage-02", roles.StateBooting)
}

// slotVerdict is a Checker that finds one slot bad.
type slotVerdict struct {
	slot string
	err  error
}

func (v slotVerdict) Check(_ context.Context, _ roles.Health, n roles.Node) error {
	if n.Slot == v.slot {
		return v.err
	}
	return nil
}

// webVerdict is one that finds the web machines so.
type webVerdict struct{ err error }

func (v webVerdict) Check(_ context.Context, _ roles.Health, n roles.Node) error {
	if n.Pool == "web" {
		return v.err
	}
	return nil
}

// A pair excuses those that mount from it, not those that are to do so one day.
func TestStorageExcusesItsOwn(t *testing.T) {
	p := wholePair(t)
	p.declare(strings.Replace(pairYAML, " storage: storage,", "", 1))
	p.boot(webMAC)
	p.health(30, true, nil)
	p.wantNode("web-01", "web-01", roles.StateReady)
	p.declare(pairYAML) // and no rollout yet
	p.health(60, false, errRefused)
	p.wantNode("web-01", "web-01", roles.StateFailed)

	p = wholePair(t)
	p.boot(webMAC)
	p.health(90, true, nil)
	p.declare(strings.Replace(pairYAML, " storage: storage,", "", 1)) // it still mounts from the pair
	p.health(60, false, errRefused)
	p.wantNode("web-01", "web-01", roles.StateReady)
}

// A half that serves is not switched off for a machine that would like its place, whatever its health check says.
func TestActiveHalfIsNotReplaced(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	p.rec.Checker = slotVerdict{"storage-01", errRefused}
	p.alive(3 * time.Minute)
	p.wantNode("storage-01", "storage-01", roles.StateFailed)
	if _, err := p.Script(t.Context(), mac(3), facts); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "take over storage-01, which serves") {
		t.Errorf("got %v", err)
	}
	if !p.power.on[st1.String()] {
		t.Error("the half that serves was switched off")
	}
	p.wantNode("storage-01", "storage-01", roles.StateFailed)
}

func TestMaintenanceWords(t *testing.T) {
	p := wholePair(t)
	p.goneTwo()
	if _, err := p.MaintainHalf(t.Context(), "storage-02", true); err != nil {
		t.Fatal(err)
	}
	if p.wantTold("taken out of service"); p.told("nothing is served") {
		t.Error("the other one serves")
	}
	if _, err := p.MaintainHalf(t.Context(), "storage-01", true); err != nil {
		t.Fatal(err)
	}
	p.wantTold("storage-02 cannot serve now, so nothing is served")
	// What an operator's decision finds out on its way is told as well.
	q := wholePair(t)
	q.goneTwo()
	if err := q.Store.Update(t.Context(), func(tx roles.Tx) error {
		pair, _ := tx.Pairs().Get("storage")
		pair.Active = "storage-02"
		return tx.Pairs().Put(pair)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.MaintainHalf(t.Context(), "storage-02", true); err != nil {
		t.Fatal(err)
	}
	q.wantTold("storage-01 took over from storage-02")
}

// What nodes and operators are told of a pair that is kept from serving by an operator.
func TestOutOfServiceWords(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	for _, slot := range []string{"storage-01", "storage-02"} {
		if _, err := p.MaintainHalf(t.Context(), slot, true); err != nil {
			t.Fatal(err)
		}
	}
	one, two := cluster("DATA-1", "m1", false), cluster("DATA-2", "m2", false)
	one.Standby, two.Standby = true, true
	p.says(st1, one)
	p.says(st2, two)
	web, _ := p.Pool("web")
	const words = "waits for storage: storage-01 is out of service, as an operator wanted (muster storage maintenance storage-01 off), and storage-02 "
	if got := p.Stored(web.Pool, ""); !strings.HasPrefix(got, words+"is out of service") {
		t.Errorf("stored: %q", got)
	}
	if err := p.fence(st1); err != nil {
		t.Fatal(err)
	}
	p.says(st1, one)
	if got := p.Stored(web.Pool, ""); !strings.HasPrefix(got, words+"was switched off by its other half") || !strings.HasSuffix(got, "stays so while it is out of service") {
		t.Errorf("stored: %q", got)
	}
	if _, err := p.PromoteHalf(t.Context(), "storage-01", false); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "maintenance storage-01 off") {
		t.Errorf("promote: %v", err)
	}
	one.Standby, one.Quorate = false, false
	p.says(st1, one)
	if got := p.Stored(web.Pool, ""); !strings.Contains(got, "storage-01 has no quorum yet") {
		t.Errorf("stored: %q", got)
	}
}
