package roles_test

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"muster/roles"
)

// see records one sighting of machine 1, so long after noon.
func (r *rack) see(step roles.Step, after time.Duration, boots bool) {
	r.t.Helper()
	s := roles.Sighting{MAC: mac(1), Time: noon.Add(after), Step: step, Boots: boots, Facts: facts}
	if err := r.Observe(r.t.Context(), []roles.Sighting{s}); err != nil {
		r.t.Fatal(err)
	}
}

// boots is how many boots machine 1 has, and the latest's timeline.
func (r *rack) boots() (int, string) {
	r.t.Helper()
	all, err := r.Boots(mac(1).String())
	if err != nil {
		r.t.Fatal(err)
	}
	if len(all) == 0 {
		return 0, ""
	}
	return len(all), r.steps(mac(1).String())
}

func (r *rack) wantBoots(n int, steps string) {
	r.t.Helper()
	if got, timeline := r.boots(); got != n || timeline != steps {
		r.t.Errorf("%d boots, the last is %q; want %d, %q", got, timeline, n, steps)
	}
}

func TestLaptopIsNoNode(t *testing.T) {
	r := newRack(t)
	r.see(roles.StepDiscover, 0, false)
	r.see(roles.StepLease, time.Second, false)
	r.see(roles.StepKernel, 2*time.Second, false)
	if _, err := r.Node(mac(1).String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a machine that only wants an address: %v", err)
	}
	// One that is known is still one.
	if _, err := r.Assign(t.Context(), mac(1).String(), "web", ""); err != nil {
		t.Fatal(err)
	}
	r.see(roles.StepDiscover, 3*time.Second, false)
	if n := r.wantNode(mac(1).String(), "web-01", roles.StateOff); !n.LastSeen.Equal(noon.Add(3*time.Second)) || n.Facts.Arch != "x86_64" {
		t.Errorf("node %+v", n)
	}
	r.wantBoots(0, "")
}

func TestWhatBeginsABoot(t *testing.T) {
	r := newRack(t)
	r.see(roles.StepDiscover, 0, true)
	r.see(roles.StepLease, time.Second, true)
	r.see(roles.StepNBP, 2*time.Second, true)
	r.see(roles.StepDiscover, 5*time.Second, true) // iPXE asks as well
	r.see(roles.StepLease, 6*time.Second, true)
	r.wantBoots(1, "discover lease nbp discover lease")
	r.see(roles.StepDiscover, 6*time.Second+119*time.Second, true) // firmware repeats itself
	r.wantBoots(1, "discover lease nbp discover lease discover")
	r.see(roles.StepDiscover, 5*time.Minute, true) // it gave up and began anew
	r.wantBoots(2, "discover")

	// After the script a DISCOVER is a restart, however soon.
	r.now = noon.Add(5*time.Minute + time.Second)
	if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
		t.Fatal(err)
	}
	r.see(roles.StepKernel, 5*time.Minute+2*time.Second, false)
	r.see(roles.StepInitrd, 5*time.Minute+3*time.Second, false)
	r.wantBoots(2, "discover script kernel initrd")
	r.see(roles.StepDiscover, 5*time.Minute+4*time.Second, true)
	r.wantBoots(3, "discover")
}

// A machine that was switched on by Muster tests its memory first.
func TestSlowFirmware(t *testing.T) {
	r, _ := powered(t)
	if _, err := r.Assign(t.Context(), mac(1).String(), "web", ""); err != nil {
		t.Fatal(err)
	}
	r.power(mac(1).String(), roles.PowerOn)
	r.see(roles.StepDiscover, 8*time.Minute, true)
	r.wantBoots(1, "power discover")
}

func TestLateSightings(t *testing.T) {
	r, _ := powered(t)
	ticket, _ := r.hello(mac(1))
	r.see(roles.StepInitrd, 3*time.Second, false) // the server notes the end of a download after the agent's hello
	r.wantBoots(1, "discover script hello spec initrd")
	if b, _ := r.Boot(mac(1).String(), 0); b.Step != roles.StepSpec || b.ID != ticket.Boot.ID {
		t.Errorf("a late sighting took the boot back to %s", b.Step)
	}

	r.now = noon.Add(time.Minute)
	r.power("web-01", roles.PowerOff)
	r.see(roles.StepDiscover, 59*time.Second, true)
	r.see(roles.StepKernel, 61*time.Second, false)
	r.wantNode("web-01", "web-01", roles.StateOff)
	r.wantBoots(1, "discover script hello spec initrd")

	r.now = noon.Add(2 * time.Minute)
	r.power("web-01", roles.PowerOn)
	r.see(roles.StepKernel, 119*time.Second, false) // of the boot before
	r.wantBoots(2, "power")
	n := r.node("web-01")
	if !n.LastSeen.Equal(noon.Add(119 * time.Second)) {
		t.Errorf("last seen %s", n.LastSeen)
	}
	r.see(roles.StepLease, time.Second, true)
	if again := r.node("web-01"); !again.LastSeen.Equal(n.LastSeen) {
		t.Errorf("an old sighting set the last one back to %s", again.LastSeen)
	}
}

// A request of nobody must not cost the others of its batch theirs.
func TestGarbageInABatch(t *testing.T) {
	r := newRack(t)
	err := r.Observe(t.Context(), []roles.Sighting{
		{Time: noon, Step: roles.StepDiscover, Boots: true},
		{MAC: mac(1), Time: noon, Step: roles.StepDiscover, Boots: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.wantBoots(1, "discover")
}
