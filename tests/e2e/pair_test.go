package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// TestPair starts a dark rack of two storage machines and a web machine that lives on them, and then takes one thing
// after the other away. All along the web machine, which runs from its root on the pair, writes numbered records to
// its volume there and serves a page: in the end not one acknowledged record may be missing, and its processes must
// be the ones that it began with.
//
// Each scenario prints one line of figures. They begin and end with a pair that is whole, so that one alone can be
// run: MUSTER_E2E_PAIR=all, and -run TestPair/fencing. Without it only the first ones are: all of them take 40 minutes.
func TestPair(t *testing.T) {
	p := newPairSite(t)
	p.coldStart()
	type scenario struct {
		name string
		run  func(*pairSite)
	}
	scenarios := []scenario{{"kill", (*pairSite).killActive}, {"return", (*pairSite).returnAndReplace}, {"vote", (*pairSite).killVote}}
	if os.Getenv("MUSTER_E2E_PAIR") == "all" {
		scenarios = append(scenarios, scenario{"cut", (*pairSite).cutLinks}, scenario{"fencing", (*pairSite).breakFencing},
			scenario{"stale", (*pairSite).staleSurvivor}, scenario{"backup", (*pairSite).backUp})
	}
	for _, s := range scenarios {
		if !t.Run(s.name, func(t *testing.T) { s.run(p.in(t)) }) {
			return // what comes after a damaged pair says nothing
		}
	}
	t.Logf("all of it took %.0f s", since(p.began))
}

// coldStart switches all three machines on at once: nothing is known of any of them, the disks are blank.
func (p *pairSite) coldStart() {
	p.t.Helper()
	p.began = time.Now()
	var steps []string
	step := func(what string) { steps = append(steps, fmt.Sprintf("%s %.0f", what, since(p.began))) }
	for _, name := range []string{"left", "right"} {
		p.powerOn(p.storageMachine(name))
	}
	p.web = p.powerOn(rack.MachineSpec{Name: "web", Firmware: rack.BIOS, Product: "web"})
	p.storage("two halves with a disk", func(v roles.PairView) bool {
		return len(v.Halves) == 2 && v.Halves[0].Meta != "" && v.Halves[1].Meta != ""
	})
	step("disks")
	p.storage("connected", func(v roles.PairView) bool {
		return v.Halves[0].Connection == "Connected" && v.Halves[1].Connection == "Connected"
	})
	step("connected")
	p.storage("made", func(v roles.PairView) bool { return !v.Made.IsZero() })
	step("file system")
	p.storage("served", func(v roles.PairView) bool { return active(v) != "" })
	step("served")
	p.waitReady(p.web.MAC().String(), "web-01")
	step("web ready")
	p.rec.goesOn(p.t, 1)
	step("record")
	p.settled()
	step("whole")
	p.says(1, "cold start, seconds from power-on: %s", strings.Join(steps, ", "))
	p.report("web-01", p.web)

	// Nobody failed for having been early, and the one that was said what it waits for.
	for _, slot := range []string{"storage-01", "storage-02", "web-01"} {
		if boots, err := p.client.Boots(p.t.Context(), slot); err != nil || len(boots) != 1 {
			p.t.Errorf("%s took %d boots (%v), want one", slot, len(boots), err)
		}
	}
	if _, err := p.web.WaitConsole(p.t.Context(), regexp.MustCompile("waits for storage: ")); err != nil {
		p.t.Error(err)
	}
	p.page = newPageLoop(p.t, p.rack, "http://10.77.0.20/")
	p.check()
}

// killActive takes the power of the active half.
func (p *pairSite) killActive() {
	killed := p.settled()
	p.rec.goesOn(p.t, 5)
	at := time.Now()
	if err := p.half(killed).Off(); err != nil { // SIGKILL
		p.t.Fatal(err)
	}
	*p.killed = death{killed, at}
	p.serves(other(killed))
	p.check()
	p.says(2, "%s, active, loses its power: %s", killed, p.stalls(at))
}

// returnAndReplace waits until the dead half has returned by itself and breaks the other one, for good: a new machine
// with a blank disk comes in its place.
func (p *pairSite) returnAndReplace() {
	dead := p.settled()
	returned := "both are there"
	if p.killed.slot != "" {
		returned = fmt.Sprintf("%s is back in sync %.0f s after its death", p.killed.slot, since(p.killed.at))
	}
	p.check()
	old := p.half(dead)
	p.rec.goesOn(p.t, 5)
	at := time.Now()
	if err := old.Fail(); err != nil {
		p.t.Fatal(err)
	}
	p.serves(other(dead))
	p.check()
	p.says(3, "%s; then %s, active, dies: %s", returned, dead, p.stalls(at))

	on := time.Now()
	m := p.powerOn(p.storageMachine("new"))
	p.wait(m.MAC().String(), "in "+dead, func(n roles.Node) bool { return n.Slot == dead })
	slot := since(on)
	percent, left := false, false
	v := p.storage("whole, with a new half", func(v roles.PairView) bool {
		for _, h := range v.Halves {
			if h.Slot == dead && h.Node == m.MAC() && fresh(h) {
				percent = percent || h.Synced > 0 && h.Synced < 100
				left = left || h.Left > 0
			}
		}
		return whole(v)
	})
	if p.half(dead) != m {
		p.t.Errorf("%s is not the new machine: %s", dead, asJSON(v))
	}
	if !percent || !left {
		p.t.Errorf("the sync did not say how far it is (%t) and how long it takes (%t)", percent, left)
	}
	serial := m.Spec().Disks[0].Serial
	if got := v.Disks[dead]; got.Serial != serial || !got.Whole {
		p.t.Errorf("%s is known by the disk %+v, want %s, whole", dead, got, serial)
	}
	p.check()
	p.says(4, "a new machine with a blank disk of 512 MiB has the slot %s after %.0f s and all data after %.0f s", dead, slot, since(on))
}

// stalls are the figures of an event: who waited for how long.
func (p *pairSite) stalls(at time.Time) string {
	return fmt.Sprintf("records stalled for %.1f s, pages for %.1f s", p.rec.stall(at), p.page.stall(at))
}

// complaint is what no console of a machine that lives on a pair may say.
var complaint = regexp.MustCompile(`(?i)stale file handle|input/output error|I/O error|remote i/o|ESTALE|read-only file system`)

// check compares what was acknowledged with what is there, and looks for what a web machine should not have noticed.
func (p *pairSite) check() {
	p.t.Helper()
	lost, wrong := p.rec.check(p.file("http://10.77.0.20:81/records"))
	if lost > 0 {
		p.t.Errorf("%d acknowledged records are lost", lost)
	}
	for _, w := range wrong[:min(len(wrong), 20)] {
		p.t.Error(w)
	}
	console, err := os.ReadFile(p.web.ConsoleFile())
	if err != nil {
		p.t.Fatal(err)
	}
	said := complaint.FindAllString(string(console)+p.file("http://10.77.0.20:82/error.log"), -1)
	if slices.Sort(said); len(said) > 0 {
		p.t.Errorf("the web machine complains: %q", slices.Compact(said))
	}
	if failed := p.page.failures(); len(failed) > 0 {
		p.t.Errorf("%d pages did not come; the first: %s", len(failed), failed[0])
	}
	if macs := p.owners(floating); len(macs) > 1 {
		p.t.Errorf("%s is at %v", floating, macs)
	}
}
