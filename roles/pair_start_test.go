package roles_test

import (
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// A rack that was dark: who is ready waits for the other, not for ever.
func TestStartAlone(t *testing.T) {
	lone := ready("DATA-1", "m1")
	lone.DiskState, lone.Connection = "Consistent", "WFConnection"
	// after says in which second of waiting it may start.
	after := func(p *pairRack) int {
		t.Helper()
		began := p.now
		for p.now.Sub(began) < 5*time.Minute {
			o := p.says(st1, lone)
			if o.Start {
				return int(p.now.Sub(began).Seconds())
			}
			if !strings.HasPrefix(o.Wait, "waits for storage-02, which ") {
				t.Fatalf("waits with the words %q", o.Wait)
			}
			p.now = p.now.Add(2 * time.Second)
		}
		return -1
	}
	dark := func() *pairRack {
		p := wholePair(t)
		p.alive(time.Minute)
		p.rack.power("storage-01", roles.PowerOff)
		p.now = p.now.Add(time.Hour)
		p.boot(st1)
		return p
	}
	p := dark()
	if got := after(p); got != 60 {
		t.Errorf("the other is not heard: starts after %d s", got)
	}
	run := cluster("DATA-1", "m1", false)
	run.DiskState, run.Connection, run.PeerDisk = "Consistent", "WFConnection", "DUnknown"
	if o := p.says(st1, run); !o.Start {
		t.Error("one that runs loses its order to run")
	}
	web, _ := p.Pool("web")
	if got := p.Stored(web.Pool, ""); !strings.Contains(got, "storage-01 waits for its peer, which has not been heard for 1h") ||
		!strings.Contains(got, "cannot know that it has the newest data (muster storage promote storage-01") {
		t.Errorf("stored: %q", got)
	}

	p = dark()
	p.rack.power("storage-02", roles.PowerOff)
	if got := after(p); got != 0 {
		t.Errorf("the other is off: starts after %d s", got)
	}
	p = dark()
	p.hello(st2)
	if got := after(p); got != 120 {
		t.Errorf("the other boots: starts after %d s", got)
	}
	p = dark()
	p.boot(st2)
	p.says(st1, lone)
	p.says(st2, blank("DATA-2"))
	if o := p.says(st1, lone); o.Start {
		t.Error("starts while the other looks for its disk")
	}
	p.says(st2, ready("DATA-2", "m2"))
	if o := p.says(st1, lone); !o.Start {
		t.Error("both are ready, and it does not start")
	}
}

func TestPromote(t *testing.T) {
	p := wholePair(t)
	p.alive(time.Minute)
	refused := func(slot, words string) {
		t.Helper()
		if _, err := p.PromoteHalf(t.Context(), slot, false); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("promote %s: %v, want %q", slot, err, words)
		}
	}
	refused("storage-01", "serves already")
	refused("storage-02", "storage-01 serves: there is nothing to decide")
	refused("web-01", "is no storage pair")
	p.now = p.now.Add(time.Hour)
	refused("storage-02", "is not heard")
	lone := cluster("DATA-2", "m2", false)
	lone.DiskState, lone.Connection = "Consistent", "WFConnection"
	p.says(st2, lone)
	p.power.err = errPDU
	refused("storage-02", "muster storage promote storage-02 --peer-is-off")
	if p.pair().Promoted != "" {
		t.Error("promoted though the other may run")
	}
	p.power.err = nil
	v, err := p.PromoteHalf(t.Context(), "storage-02", false)
	if err != nil || v.Promoted != "storage-02" || v.Outdated != "storage-01" || p.power.on[st1.String()] {
		t.Fatalf("%+v, %v", v.Pair, err)
	}
	o := p.says(st2, lone)
	if o.Promote == "" || o.Outdated || !o.Start {
		t.Errorf("orders %+v", o)
	}
	again := p.says(st2, lone).Promote
	if again != o.Promote {
		t.Error("one decision has two values")
	}
	p.says(st2, p.alone("DATA-2", "m2"))
	if o := p.says(st2, p.alone("DATA-2", "m2")); o.Promote != "" {
		t.Error("it would be promoted again at its next boot")
	}
	p.wantTold("goes on with the data of storage-02 alone, by an operator", "storage-02 serves, as an operator decided")
	// The other returns with data that were given up: DRBD finds a split, and it gives in.
	p.boot(st1)
	back := ready("DATA-1", "m1")
	back.DiskState, back.Connection = "", ""
	if o := p.says(st1, back); !o.Outdated || o.Discard || !o.Start {
		t.Errorf("orders %+v", o)
	}
	split := cluster("DATA-1", "m1", false)
	split.DiskState, split.Connection, split.Split = "Outdated", "StandAlone", true
	if o := p.says(st1, split); !o.Discard {
		t.Errorf("orders %+v", o)
	}
	if o := p.says(st2, p.alone("DATA-2", "m2")); o.Discard {
		t.Errorf("the one that was kept is to discard: %+v", o)
	}
	p.now = p.now.Add(15 * time.Second)
	p.says(st1, cluster("DATA-1", "m1", false))
	p.says(st2, cluster("DATA-2", "m2", true))
	if v := p.pair(); v.Keep != "" || v.Outdated != "" || v.State != roles.PairWhole {
		t.Errorf("pair %+v", v)
	}
}

func TestSplit(t *testing.T) {
	p := wholePair(t)
	if _, err := p.KeepHalf(t.Context(), "storage-02"); err == nil {
		t.Error("a split was decided where none is")
	}
	split := cluster("DATA-2", "m2", false)
	split.Connection, split.Split = "StandAlone", true
	o := p.says(st2, split)
	if v := p.pair(); o.Discard || v.State != roles.PairSplit || !strings.Contains(strings.Join(v.Alerts, "\n"), "muster storage keep storage-01, or muster storage keep storage-02") {
		t.Errorf("orders %+v, pair %+v", o, v)
	}
	p.wantTold("nothing is discarded by itself")
	if _, err := p.KeepHalf(t.Context(), "storage-02"); err == nil || !strings.Contains(err.Error(), "storage-01 serves") {
		t.Errorf("the data under the nodes are discarded: %v", err)
	}
	if _, err := p.KeepHalf(t.Context(), "storage-01"); err != nil {
		t.Fatal(err)
	}
	if o := p.says(st2, split); !o.Discard || !o.Outdated {
		t.Errorf("orders %+v", o)
	}
}

func TestMaintenanceAndVerify(t *testing.T) {
	p := wholePair(t)
	for range 2 {
		if v, err := p.MaintainHalf(t.Context(), "storage-02", true); err != nil || len(v.Standby) != 1 {
			t.Fatal(v.Standby, err)
		}
	}
	if o := p.says(st2, cluster("DATA-2", "m2", false)); !o.Standby || !o.Start {
		t.Errorf("orders %+v", o)
	}
	if _, err := p.MaintainHalf(t.Context(), "storage-02", false); err != nil {
		t.Fatal(err)
	}
	if _, err := p.VerifyPair(t.Context(), "storage"); err != nil {
		t.Fatal(err)
	}
	p.now = p.now.Add(time.Second)
	active := cluster("DATA-1", "m1", true)
	o := p.says(st1, active)
	if o.Verify == "" || p.says(st2, cluster("DATA-2", "m2", false)).Verify != "" {
		t.Errorf("the active half compares: %+v", o)
	}
	active.Verify = "1999-03-01T12:00:00Z: no differences" // by its own clock
	if o := p.says(st1, active); o.Verify != "" {
		t.Errorf("orders %+v", o)
	}
	p.wantTold("both disks were compared: 1999-03-01T12:00:00Z: no differences")
	alone := p.alone("DATA-1", "m1")
	p.says(st1, alone)
	if _, err := p.VerifyPair(t.Context(), "storage"); err == nil {
		t.Error("one disk is compared with none")
	}
}
