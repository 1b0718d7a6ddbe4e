package roles_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/roles"
)

// A broken image costs one node, for a while.
func TestBrokenCanary(t *testing.T) {
	f := newFleet(t, 3, 2)
	f.images.broken[2] = true
	f.start(roles.RolloutOptions{Image: web2, Batch: 3})
	f.pass(1)
	f.obey()
	for range 20 {
		f.pass(6)
		if n := f.node("web-02"); n.State != roles.StateReady || n.Image != "web:1" {
			t.Fatalf("web-02: %+v", n)
		}
		if f.rollout().State != roles.RolloutRunning {
			break
		}
	}
	f.wantRollout(roles.RolloutRollingBack, "restarting pending pending", "web-01 ")
	if n := f.node("web-01"); n.Restart != "rollback web:2 → web:1" {
		t.Errorf("node %+v", n)
	}
	ro := f.finish()
	if ro.State != roles.RolloutRolledBack || !strings.Contains(ro.Why, "web-01") || !strings.Contains(ro.Why, "connection refused") {
		t.Errorf("rollout %+v", ro)
	}
	f.wantRollout(roles.RolloutRolledBack, "back pending pending", "")
	f.wantImages("web:1", "web:1", "web:1", "web:1")
}

// The image breaks later, on one machine: those that run it go back, never too many at once.
func TestLateFailure(t *testing.T) {
	f := newFleet(t, 4, 3)
	f.start(roles.RolloutOptions{Image: web2})
	for f.node("web-03").Restart == "" {
		f.obey()
		f.pass(1)
	}
	f.wantRollout(roles.RolloutRunning, "done done restarting pending", "")
	f.dead[mac(3)] = true
	f.powerOn(mac(3))
	f.now = f.now.Add(11 * time.Minute)
	f.pass(1)
	f.wantRollout(roles.RolloutRollingBack, "done done restarting pending", "web-03 ")
	f.pass(3)
	if got := f.asked(); got != "web-03" && got != "" {
		t.Errorf("asked to restart: %s; the minimum is 3", got)
	}
	f.dead[mac(3)] = false
	f.finish()
	f.wantRollout(roles.RolloutRolledBack, "back back back pending", "web-03 ")
	f.wantImages("web:1", "web:1", "web:1", "web:1", "web:1")
}

// A node that was ready with the new image, and fails then, ends the rollout too.
func TestDoneNodeFails(t *testing.T) {
	f := newFleet(t, 3, 1)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.obey()
	f.pass(1)
	f.dead[mac(1)] = true
	f.pass(4)
	f.wantRollout(roles.RolloutRollingBack, "restarting restarting pending", "web-01 failed after it was ready with web:2: 3 health checks")
	f.dead[mac(1)] = false
	// web-02 had been asked, and boots what it ran.
	if f.obey(); f.node("web-02").Image != "web:1" {
		t.Errorf("web-02 boots %s", f.node("web-02").Image)
	}
	f.finish()
	f.wantRollout(roles.RolloutRolledBack, "back back pending", "")
	f.wantImages("web:1", "web:1", "web:1", "web:1")
}

// A machine that does not come back with the old image either is a matter for people; no other one is risked.
func TestCannotGoBack(t *testing.T) {
	f := newFleet(t, 3, 2)
	f.start(roles.RolloutOptions{Image: web2})
	for f.node("web-02").Restart == "" {
		f.obey()
		f.pass(1)
	}
	f.dead[mac(2)] = true
	for range 600 {
		f.obey()
		f.pass(1)
		if !f.rollout().Ended.IsZero() {
			break
		}
	}
	f.wantRollout(roles.RolloutFailed, "done failed pending", "web-01 still runs web:2: a restart would leave too few ready nodes; web-02 did not become ready with web:1 again")
	if p, _ := f.Pool("web"); p.Image != "web:1" || p.Ready != 2 {
		t.Errorf("pool %+v", p)
	}
	// Repaired, the same command finishes it.
	f.dead[mac(2)] = false
	f.pass(2)
	f.wantNode("web-02", "web-02", roles.StateReady)
	if ro, err := f.RollbackPool(t.Context(), "web"); err != nil {
		t.Fatalf("%+v, %v", ro, err)
	}
	f.finish()
	f.wantRollout(roles.RolloutDone, "done done done", "")
	f.wantImages("web:1", "web:1", "web:1", "web:1")
}

func TestStopRollout(t *testing.T) {
	f := newFleet(t, 3, 1)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.obey()
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "done restarting pending", "")
	if _, err := f.StopRollout(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	f.wantRollout(roles.RolloutRollingBack, "done restarting pending", "stopped by an operator")
	f.finish()
	f.wantRollout(roles.RolloutRolledBack, "back back pending", "stopped by an operator")
	f.wantImages("web:1", "web:1", "web:1", "web:1")
	// A rollback command in the middle is the same; stopping that too leaves all as it is.
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.obey()
	f.pass(1)
	if _, err := f.RollbackPool(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if ro, err := f.StopRollout(t.Context(), "web"); err != nil || ro.State != roles.RolloutFailed || !strings.Contains(ro.Why, "an operator stopped that too") {
		t.Errorf("rollout %+v, %v", ro, err)
	}
	f.obey()
	f.pass(3)
	f.wantImages("web:1", "web:2", "web:1", "web:1")
}

// A node that is switched by hand, and boots when the rollout is stopped, can be restarted once its agent speaks.
func TestStopWhileOneBoots(t *testing.T) {
	boot := func(t *testing.T) (*fleet, roles.Ticket) {
		f := newFleet(t, 3, 1)
		f.DefaultPower = ""
		f.start(roles.RolloutOptions{Image: web2})
		f.pass(1)
		ticket, _ := f.hello(mac(1))
		f.pass(1)
		if _, err := f.StopRollout(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		f.pass(1)
		f.wantRollout(roles.RolloutRollingBack, "done pending pending", "stopped by an operator; waits until web-01, which boots, can be restarted")
		return f, ticket
	}
	f, ticket := boot(t)
	f.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	f.finish()
	f.wantRollout(roles.RolloutRolledBack, "back pending pending", "stopped by an operator")
	f.wantImages("web:1", "web:1", "web:1", "web:1")
	// One that never gets there is a matter for people.
	f, _ = boot(t)
	f.now = f.now.Add(11 * time.Minute)
	f.pass(1)
	f.wantRollout(roles.RolloutFailed, "failed pending pending", "web-01 cannot be restarted (its own agent does not answer, and it has no power driver): restart it by hand, and it boots web:1")
}

// While a node is down for another reason, the rollout waits and says so.
func TestRolloutWaitsForTheMinimum(t *testing.T) {
	f := newFleet(t, 3, 2)
	f.SwitchPower(t.Context(), "web-03", roles.PowerOff)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(200)
	f.wantRollout(roles.RolloutRunning, "pending pending", "waits: 2 ready nodes are no more than the pool's minimum, 2")
	f.powerOn(mac(3))
	f.finish()
	f.wantRollout(roles.RolloutDone, "done done done", "")
	f.wantImages("web:2", "web:2", "web:2", "web:2")
}

// A pool that does not work at all is what a rollout is to repair.
func TestRolloutRepairs(t *testing.T) {
	f := newFleet(t, 3, 2)
	f.images.broken[1] = true
	f.pass(5)
	if p, _ := f.Pool("web"); p.Failed != 3 {
		t.Fatalf("pool %+v", p)
	}
	f.start(roles.RolloutOptions{Image: web2, Batch: 2})
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "restarting pending pending", "")
	f.finish()
	f.wantImages("web:2", "web:2", "web:2", "web:2")
}

// A machine that did not work before says nothing about the image.
func TestAilingNode(t *testing.T) {
	f := newFleet(t, 3, 1)
	f.dead[mac(2)] = true
	f.pass(5)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "restarting pending pending", "")
	for range 600 {
		f.obey()
		f.pass(1)
		if !f.rollout().Ended.IsZero() {
			break
		}
	}
	f.wantRollout(roles.RolloutDone, "done failed done", "not ready, and to boot web:2 next time: web-02")
	f.dead[mac(2)] = false
	f.powerOn(mac(2))
	f.pass(1)
	f.wantImages("web:2", "web:2", "web:2", "web:2")
}

// What an operator pins in the middle of a rollout ends it.
func TestPinnedMeanwhile(t *testing.T) {
	f := newFleet(t, 3, 1)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	f.size(1, "") // the same again
	f.size(1, ", image: 'web:2'")
	f.pass(1)
	f.wantRollout(roles.RolloutRunning, "restarting pending pending", "")
	f.size(1, ", image: 'web:3'")
	f.pass(1)
	f.wantRollout(roles.RolloutFailed, "restarting pending pending", "the pool's image was changed to web:3")
	f.obey()
	f.pass(1)
	f.wantImages("web:3", "web:3", "web:1", "web:1")
}

func TestPoolDeletedMeanwhile(t *testing.T) {
	f := newFleet(t, 2, 0)
	f.start(roles.RolloutOptions{Image: web2})
	f.pass(1)
	for i := range 2 {
		f.Release(t.Context(), mac(i+1).String())
	}
	if _, err := f.Apply(t.Context(), f.parse("roles: [{name: web}]"), roles.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	f.pass(1)
	f.declare(fmt.Sprintf(fleetYAML, 0, ""))
	if ro, err := f.Rollout("web"); err == nil {
		t.Errorf("the rollout of a pool that is gone is there: %+v", ro)
	}
}

// A rollout goes on when something happens, not only with the next tick.
func TestRolloutIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, 1)
		base, began := f.now, time.Now()
		f.Now = func() time.Time { return base.Add(time.Since(began)) }
		f.rec.Tick = time.Hour
		f.start(roles.RolloutOptions{Image: web2})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.rec.Run(ctx) }()
		synctest.Wait()
		if f.asked() != "web-01" {
			t.Errorf("asked: %q", f.asked())
		}
		time.Sleep(time.Second)
		f.now = f.Now()
		ticket, _ := f.hello(mac(1))
		f.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: "no space"})
		time.Sleep(time.Second)
		f.wantRollout(roles.RolloutRollingBack, "restarting pending", "web-01 failed with web:2: no space")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
