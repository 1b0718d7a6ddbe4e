package roles_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

func (p *pairRack) fence(by roles.MAC) error {
	return p.PairFence(p.t.Context(), by, key(p.keys[by]), false)
}

func TestFailover(t *testing.T) {
	p := wholePair(t)
	p.alive(90 * time.Second)
	dies := p.now
	p.now = p.now.Add(8 * time.Second)
	p.says(st2, cluster("DATA-2", "m2", false))
	if err := p.fence(st2); err != nil {
		t.Fatal(err)
	}
	if p.power.on[st1.String()] || len(p.power.offs) != 1 {
		t.Fatalf("not switched off: %+v", p.power)
	}
	p.wantNode("storage-01", "storage-01", roles.StateOff)
	if v := p.pair(); v.Fenced["storage-01"].IsZero() || v.Shooter != "" {
		t.Errorf("fencing is not noted: %+v", v.Pair)
	}
	// What was on its way when it was switched off counts no more.
	_, err := p.PairReport(t.Context(), st1, key(p.keys[st1]), cluster("DATA-1", "m1", true))
	p.wantDenied("a fenced half's report", err)
	p.wantDenied("a fenced half shoots", p.fence(st1))
	if err := p.PairOutdate(t.Context(), st2, key(p.keys[st2])); err != nil {
		t.Fatal(err)
	}
	alone := cluster("DATA-2", "m2", true)
	alone.PeerDisk, alone.Connection = "Outdated", "WFConnection"
	p.now = p.now.Add(12 * time.Second)
	p.tick(0)
	if p.power.on[st1.String()] {
		t.Error("switched on again before the other serves")
	}
	p.says(st2, alone)
	v := p.pair()
	if v.Active != "storage-02" || v.Before != "storage-01" || time.Duration(v.Took) != p.now.Sub(dies) || v.State != roles.PairDegraded {
		t.Errorf("after the failover: %+v", v)
	}
	if !strings.Contains(strings.Join(v.Alerts, "\n"), "runs on one leg: storage-01 was switched off") {
		t.Errorf("alerts %q", v.Alerts)
	}
	p.tick(time.Second)
	if !p.power.on[st1.String()] || !p.pair().Fenced["storage-01"].IsZero() {
		t.Error("not switched on again while the other serves")
	}
	p.wantNode("storage-01", "storage-01", roles.StateBooting)
	p.wantTold("storage-02 took over from storage-01; nothing was served for 20s", "switched off by its other half, storage-02", "switched on again")

	// It returns, outdated until it has all data.
	p.boot(st1)
	p.says(st2, alone)
	back := ready("DATA-1", "m1")
	back.Connection, back.DiskState = "", ""
	if o := p.says(st1, back); !o.Start || !o.Outdated || o.Known != "m1" {
		t.Errorf("orders of the one that returns: %+v", o)
	}
	err = p.PairOutdate(t.Context(), st1, key(p.keys[st1]))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("the outdated one says that the other is: %v", err)
	}
	if err := p.fence(st1); !errors.Is(err, fs.ErrPermission) || !p.power.on[st2.String()] {
		t.Errorf("the outdated one shoots the one with the data: %v", err)
	}
	p.tick(12 * time.Second)
	p.says(st1, cluster("DATA-1", "m1", false))
	p.says(st2, cluster("DATA-2", "m2", true))
	if v := p.pair(); v.Outdated != "" || v.State != roles.PairWhole || v.Active != "storage-02" {
		t.Errorf("after its return: %+v", v)
	}
	p.wantTold("storage-01 has all data again")
}

// Who works at a machine does not want it to be switched on; who refuses a disk is not silent.
func TestFencedInMaintenance(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	if _, err := p.MaintainHalf(t.Context(), "storage-02", true); err != nil {
		t.Fatal(err)
	}
	p.power.on[st2.String()] = false // its plug is pulled
	if err := p.fence(st1); err != nil || len(p.power.offs) != 0 {
		t.Fatal(err, p.power.offs)
	}
	p.wantNode("storage-02", "storage-02", roles.StateOff)
	for range 100 {
		p.says(st1, p.alone("DATA-1", "m1"))
		p.tick(2 * time.Second)
	}
	if len(p.power.ons) != 0 {
		t.Error("switched on while somebody works at it")
	}
	if _, err := p.MaintainHalf(t.Context(), "storage-02", false); err != nil {
		t.Fatal(err)
	}
	p.tick(2 * time.Second)
	if len(p.power.ons) != 1 {
		t.Error("not switched on after the maintenance")
	}
	p.boot(st2)
	bad := blank("DATA-2")
	bad.Carries = "ext4"
	p.rec.Checker = slotVerdict{"storage-02", errRefused}
	for range 400 {
		p.says(st1, p.alone("DATA-1", "m1"))
		p.says(st2, bad)
		p.tick(2 * time.Second)
	}
	p.wantNode("storage-02", "storage-02", roles.StateBooting)
	for range 400 {
		p.tick(2 * time.Second)
	}
	p.wantNode("storage-02", "storage-02", roles.StateFailed)
}

func TestFenceOnePerPair(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	started, release := make(chan struct{}, 9), make(chan struct{})
	p.power.during = func() { started <- struct{}{}; <-release }
	results := make(chan error, 3)
	for range 2 { // both calls share one shot
		go func() { results <- p.fence(st1) }()
	}
	<-started
	p.wantDenied("the other shoots back", p.fence(st2))
	go func() { results <- p.fence(st1) }()
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if len(started) != 0 && len(p.power.offs) > 1 {
		t.Errorf("switched off %v", p.power.offs)
	}
	if !p.power.on[st1.String()] || p.power.on[st2.String()] {
		t.Errorf("on: %v", p.power.on)
	}
	p.wantDenied("who is off shoots", p.fence(st2))
}

// The right to shoot is kept: a server that dies over a shot does not give it to both.
func TestFenceRight(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	err := p.Store.Update(t.Context(), func(tx roles.Tx) error {
		pair, _ := tx.Pairs().Get("storage")
		pair.Shooter, pair.ShotAt = "storage-01", p.now
		return tx.Pairs().Put(pair)
	})
	if err != nil {
		t.Fatal(err)
	}
	p.restart()
	p.wantDenied("the other shoots", p.fence(st2))
	if len(p.power.offs) != 0 {
		t.Errorf("switched off %v", p.power.offs)
	}
	p.now = p.now.Add(91 * time.Second)
	if err := p.fence(st2); err != nil || p.power.on[st1.String()] {
		t.Errorf("one that does not use its right keeps it for ever: %v", err)
	}
	// Both on one outlet: each would shoot itself.
	p = wholePair(t)
	err = p.Store.Update(t.Context(), func(tx roles.Tx) error {
		for _, m := range []roles.MAC{st1, st2} {
			n, _ := tx.Nodes().Get(m)
			n.Power = &roles.Power{Driver: "test", Target: "same"}
			if err := tx.Nodes().Put(n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.fence(st1); !errors.Is(err, fs.ErrInvalid) || len(p.power.offs) != 0 {
		t.Errorf("shot at itself: %v, %v", err, p.power.offs)
	}
	// That is known before it is needed.
	p.alive(62 * time.Second)
	if v := p.pair(); !strings.Contains(strings.Join(v.Alerts, "\n"), `the same power target "same"`) {
		t.Errorf("alerts %q", v.Alerts)
	}
	if err := p.PairFence(t.Context(), st1, key(p.keys[st1]), true); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("try: %v", err)
	}
}

func TestFenceFails(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	p.power.err = errPDU
	if err := p.fence(st2); !errors.Is(err, errPDU) || p.pair().Shooter != "" {
		t.Errorf("got %v; %+v", err, p.pair())
	}
	if err := p.PairFence(t.Context(), st2, key(p.keys[st2]), true); !errors.Is(err, errPDU) {
		t.Errorf("try: %v", err)
	}
	p.wantNode("storage-01", "storage-01", roles.StateReady)
	p.wantTold("storage-01 could not be fenced")
	p.alive(62 * time.Second)
	if v := p.pair(); v.Halves[0].Fencing == "" || !strings.Contains(strings.Join(v.Alerts, "\n"), "without fencing there is no failover") {
		t.Errorf("alerts %q", v.Alerts)
	}
	p.power.err = nil
	p.alive(62 * time.Second)
	if v := p.pair(); v.Halves[0].Fencing != "" || len(v.Alerts) != 0 {
		t.Errorf("alerts %q", v.Alerts)
	}
	p.wantTold("can be fenced again")
	if err := p.PairFence(t.Context(), st2, key(p.keys[st2]), true); err != nil {
		t.Error(err)
	}
}

func TestFenceStaysOff(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	p.power.stuck = true
	p.power.during = func() {
		p.power.mu.Lock()
		defer p.power.mu.Unlock()
		if len(p.power.offs) == 0 {
			go func() { // it takes a moment
				p.power.mu.Lock()
				defer p.power.mu.Unlock()
				p.power.on[st1.String()] = false
			}()
		}
	}
	if err := p.fence(st2); err != nil || p.power.on[st1.String()] {
		t.Fatalf("%v, %v", err, p.power.on)
	}
	// One that nobody serves instead of is switched on after a minute.
	p.tick(30 * time.Second)
	p.wantNode("storage-01", "storage-01", roles.StateOff)
	p.restart()
	p.tick(31 * time.Second)
	p.wantNode("storage-01", "storage-01", roles.StateBooting)

	// What an operator switches off stays off, and is as good as fenced.
	p.power.stuck = false
	p.rack.power("storage-01", roles.PowerOff)
	p.tick(5 * time.Minute)
	p.wantNode("storage-01", "storage-01", roles.StateOff)
	p.says(st2, cluster("DATA-2", "m2", false))
	if err := p.fence(st2); err != nil || len(p.pair().Fenced) != 0 {
		t.Errorf("fence of one that is off: %v, %v", err, p.pair().Fenced)
	}
}

// restart lets another process serve the same rack.
func (p *pairRack) restart() {
	old := p.Registry
	p.Registry = &roles.Registry{Store: old.Store, Images: old.Images, Now: old.Now, Power: old.Power, DefaultPower: old.DefaultPower}
	p.rec = &roles.Reconciler{Registry: p.Registry, Checker: verdict{}}
}

// The other half's shots go at the machine in the slot: one that runs does not leave it.
func TestRunningHalfStays(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	if _, err := p.Release(t.Context(), "storage-01"); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "muster node power storage-01 off") {
		t.Errorf("release: %v", err)
	}
	p.rack.power("storage-02", roles.PowerCycle)
	p.says(st2, cluster("DATA-2", "m2", false)) // it has yet to restart
	if err := p.Forget(t.Context(), "storage-02"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("forget: %v", err)
	}
	p.restart() // who runs has not spoken to this process yet
	p.rec.Pass(t.Context(), map[roles.MAC]time.Time{})
	if _, err := p.Release(t.Context(), "storage-01"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("release after a restart: %v", err)
	}
	p.run()
	if err := p.fence(st2); err != nil || p.power.on[st1.String()] {
		t.Errorf("not switched off: %v", err)
	}
	if _, err := p.Release(t.Context(), "storage-01"); err != nil {
		t.Errorf("release of one that is off: %v", err)
	}
	p.now = p.now.Add(time.Minute) // it is silent
	if _, err := p.Release(t.Context(), "storage-02"); err != nil {
		t.Errorf("release of one that is silent: %v", err)
	}
}

// A server that dies after it noted a boot, and before it switched the machine on, does so when it is back.
func TestSwitchOnCutShort(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	if err := p.fence(st2); err != nil {
		t.Fatal(err)
	}
	p.power.deaf = true
	p.rack.power("storage-01", roles.PowerOn)
	p.wantNode("storage-01", "storage-01", roles.StateBooting)
	p.power.deaf, p.power.ons = false, nil
	p.restart()
	p.tick(2 * time.Minute)
	p.tick(time.Second)
	if !p.power.on[st1.String()] || len(p.pair().Fenced) != 0 {
		t.Errorf("it stays off: %v, fenced %v", p.power.on, p.pair().Fenced)
	}
	// One that is on is not switched on again.
	if p.tick(2 * time.Minute); len(p.power.ons) != 1 {
		t.Errorf("switched on %v", p.power.ons)
	}
}

// A BMC that tells whether the machine is on, and does not switch it off, lets nobody hope.
func TestOffRefused(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	p.power.offErr = errPDU
	for range 3 {
		if err := p.fence(st2); !errors.Is(err, errPDU) {
			t.Fatal(err)
		}
		p.alive(62 * time.Second)
		if v := p.pair(); !strings.Contains(strings.Join(v.Alerts, "\n"), "storage-01 could not be fenced") {
			t.Errorf("alerts %q", v.Alerts)
		}
	}
	if p.told("can be fenced again") {
		t.Error("it is said to be all right")
	}
	p.power.offErr = nil
	if err := p.fence(st2); err != nil {
		t.Fatal(err)
	}
	if v := p.pair(); v.Halves[0].Fencing != "" {
		t.Errorf("fencing %q", v.Halves[0].Fencing)
	}
	// Nobody is in the slot: nothing is wrong with its power.
	p.power.err = errPDU
	p.alone1(62 * time.Second)
	if v := p.pair(); v.Halves[0].Fencing == "" {
		t.Fatal("the test of its power says nothing")
	}
	if _, err := p.Release(t.Context(), "storage-01"); err != nil {
		t.Fatal(err)
	}
	if v := p.pair(); v.Halves[0].Fencing != "" {
		t.Errorf("an empty slot: %q", v.Halves[0].Fencing)
	}
}

// alone1 lets so much time pass with the second half alone.
func (p *pairRack) alone1(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.says(st2, p.alone("DATA-2", "m2"))
		p.tick(2 * time.Second)
	}
}
