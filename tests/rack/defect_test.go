package rack

import (
	"context"
	"strings"
	"testing"

	"muster/roles"
)

// TestFail switches a broken machine on, by hand and over the lab.
func TestFail(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	m, err := r.Add(MachineSpec{Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	socket, _ := serveLab(ctx, t, r)
	lab := LabClient{Socket: socket}
	if err := m.On(); err != nil {
		t.Fatal(err)
	}
	if err := m.Fail(); err != nil || m.Running() {
		t.Errorf("broken: error %v, running %t", err, m.Running())
	}
	if err := m.On(); err != nil || m.Running() {
		t.Errorf("switched on: error %v, running %t", err, m.Running())
	}
	if got, err := lab.Power(ctx, m.MAC(), "on"); err != nil || got.On {
		t.Errorf("switched on by its power switch: %+v, error %v", got, err)
	}
	m.Repair()
	if m.Running() {
		t.Error("it comes on by being repaired")
	}
	if got, err := lab.Power(ctx, m.MAC(), "on"); err != nil || !got.On {
		t.Errorf("repaired: %+v, error %v", got, err)
	}
}

// TestBreakPower asks the lab while its switches don't answer.
func TestBreakPower(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	m, err := r.Add(MachineSpec{Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	socket, _ := serveLab(ctx, t, r)
	lab := LabClient{Socket: socket}
	if _, err := lab.Power(ctx, m.MAC(), "on"); err != nil {
		t.Fatal(err)
	}
	r.BreakPower(true)
	for _, action := range []string{"on", "off", "reset"} {
		if _, err := lab.Power(ctx, m.MAC(), action); err == nil || !strings.Contains(err.Error(), "out of order") {
			t.Errorf("%s: got error %v", action, err)
		}
	}
	if _, err := lab.Machine(ctx, m.MAC()); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("status: got error %v", err)
	}
	if _, err := lab.Machine(ctx, roles.MAC{2}); err == nil || strings.Contains(err.Error(), "out of order") {
		t.Errorf("status of no machine: got error %v", err)
	}
	if !m.Running() {
		t.Error("a switch that refuses has switched")
	}
	r.BreakPower(false)
	if got, err := lab.Power(ctx, m.MAC(), "off"); err != nil || got.On {
		t.Errorf("with the switches back: %+v, error %v", got, err)
	}
}
