package roles_test

import (
	"testing"
	"time"

	"muster/images"
	"muster/roles"
)

func (f *fleet) wantUse(image, why string) {
	f.t.Helper()
	ref, err := images.ParseRef(image)
	if err != nil {
		f.t.Fatal(err)
	}
	if got := f.InUse(ref); got != why {
		f.t.Errorf("%s: %q, want %q", image, got, why)
	}
}

func TestInUse(t *testing.T) {
	f := newFleet(t, 2, 1)
	ctx := t.Context()
	f.wantUse("web:1", "web-01 runs it")
	f.wantUse("web:2", "")
	f.wantUse("ntp:1", "")

	f.start(roles.RolloutOptions{Image: web2})
	f.wantUse("web:2", "a rollout takes pool web from web:1 to web:2")
	f.finish()
	f.wantUse("web:2", "web-01 runs it")
	f.wantUse("web:1", "pool web ran it before its last rollout, and may be rolled back to it")
	for i := range 2 {
		f.SwitchPower(ctx, mac(i+1).String(), roles.PowerOff)
	}
	f.wantUse("web:2", "pool web is pinned to it")
	f.size(1, "")
	f.wantUse("web:2", "the last rollout of pool web was to it")
}

// From its script on a boot needs what it loads; a machine that is off needs nothing.
func TestInUseByBoots(t *testing.T) {
	f := newFleet(t, 1, 0)
	ctx := t.Context()
	f.images.current = 2
	f.see(roles.StepDiscover, time.Hour, true)
	// Anybody may send a DISCOVER: the machine may still run what it ran.
	f.wantUse("web:1", "web-01 may still run it")
	f.wantUse("web:2", "")
	f.now = f.now.Add(2 * time.Hour)
	ticket, err := f.Script(ctx, mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	f.wantUse("web:2", "web-01 boots it")
	f.wantUse("web:1", "web-01 may still run it")
	if _, err := f.Hello(ctx, mac(1), ticket.Boot.Token, kernel, time.Second, facts); err != nil {
		t.Fatal(err)
	}
	f.wantUse("web:2", "web-01 boots it, or may still run it")
	f.wantUse("web:1", "")
	f.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: "no space"})
	f.wantNode("web-01", "web-01", roles.StateFailed)
	f.wantUse("web:2", "web-01 boots it, or may still run it")
	f.SwitchPower(ctx, "web-01", roles.PowerOff)
	f.wantUse("web:2", "")
	f.SwitchPower(ctx, "web-01", roles.PowerOn)
	f.powerOn(mac(1))
	f.pass(1)
	f.wantUse("web:2", "web-01 runs it")
	// Who is released, or replaced, runs on until it restarts.
	if _, err := f.Release(ctx, "web-01"); err != nil {
		t.Fatal(err)
	}
	f.wantUse("web:2", mac(1).String()+" boots it, or may still run it")
}

// A machine without a slot needs its image until its agent runs.
func TestInUseByTheWaiting(t *testing.T) {
	f := newFleet(t, 0, 0)
	f.declare("pools: [{name: web, role: web, addresses: 10.77.0.20-10.77.0.69}]")
	ticket, err := f.Script(t.Context(), mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	name := ticket.Image.Ref.String() // any image
	f.wantUse(name, mac(1).String()+" boots it")
	if _, err := f.Hello(t.Context(), mac(1), ticket.Boot.Token, kernel, time.Second, facts); err != nil {
		t.Fatal(err)
	}
	f.wantNode(mac(1).String(), "", roles.StateWaiting)
	f.wantUse(name, "")
}
