package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// cutLinks cuts the link between the halves, with the tie-break for the active one and against it, and cuts the active
// one off entirely. Each time one half goes on, and the other one is switched off before.
func (p *pairSite) cutLinks() {
	link := func() string {
		was := p.settled()
		return p.cut(was, "storage-01", "the link is cut while "+was+" is active", func(a, b *rack.Machine) error {
			return p.rack.CutBetween(p.t.Context(), a, b)
		})
	}
	off := func() string {
		was := p.settled()
		return p.cut(was, other(was), was+", active, is cut off", func(a, _ *rack.Machine) error {
			return p.rack.Cut(p.t.Context(), a)
		})
	}
	// The lower number wins a tie. Whichever half is active at first, both cases come.
	lines := []func() string{link, off, link}
	if p.settled() == "storage-02" {
		lines = []func() string{link, link, off}
	}
	var said []string
	for _, f := range lines {
		said = append(said, f())
	}
	p.settled()
	p.check()
	p.says(5, "%s", strings.Join(said, "; "))
}

// cut makes a cut while one half is active, and waits until winner is and the other half has been switched off.
func (p *pairSite) cut(was, winner, what string, cut func(active, other *rack.Machine) error) string {
	p.t.Helper()
	loser := p.half(other(winner))
	run := loser.PID()
	at := time.Now()
	if err := cut(p.half(was), p.half(other(was))); err != nil {
		p.t.Fatal(err)
	}
	p.happens(loser.Name()+" is switched off", func() bool { return loser.PID() != run })
	fenced := since(at)
	p.serves(winner)
	if err := p.rack.Heal(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.check()
	return fmt.Sprintf("%s: %s fenced after %.0f s, %s serves, %s", what, other(winner), fenced, winner, p.stalls(at))
}

// breakFencing takes the power switches away, then isolates the active half: it must not go on, and neither may the
// other one begin, until the switches are back.
func (p *pairSite) breakFencing() {
	was := p.settled()
	m := p.half(was)
	at := time.Now()
	p.rack.BreakPower(true)
	defer p.rack.BreakPower(false)
	p.storage("in alarm for want of fencing", func(v roles.PairView) bool {
		return len(v.Alerts) > 0 && v.Halves[0].Fencing != "" && v.Halves[1].Fencing != ""
	})
	alarm := since(at)
	p.rec.goesOn(p.t, 5) // which harms nobody as long as both live
	if now := p.settledWithout(); now != was {
		p.t.Errorf("without fencing %s is active, was %s", now, was)
	}

	m.Mark()
	at = time.Now()
	if err := p.rack.Cut(p.t.Context(), m); err != nil {
		p.t.Fatal(err)
	}
	// Its watchdog resets it, and its firmware starts.
	ctx := p.t.Context()
	reset := make(chan error, 1)
	go func() { // ends with the reset, the power or the test
		_, err := m.WaitConsole(ctx, regexp.MustCompile("SeaBIOS"))
		reset <- err
	}()
	p.storage("abandoned by the isolated half", func(v roles.PairView) bool {
		if now := active(v); now == other(was) {
			p.t.Errorf("%s is active though %s could not be switched off", now, was)
		}
		select {
		case err := <-reset:
			if err != nil {
				p.t.Error(err)
			}
			return true
		default:
			return p.t.Failed()
		}
	})
	watchdog := since(at)
	p.rack.BreakPower(false)
	back := time.Now()
	p.serves(other(was))
	served := since(back)
	if err := p.rack.Heal(ctx); err != nil {
		p.t.Fatal(err)
	}
	p.settled()
	p.check()
	p.says(6, "fencing away: alarm after %.0f s; the isolated %s resets itself after %.0f s; fencing back: served after %.0f s; %s",
		alarm, was, watchdog, served, p.stalls(at))
}

// settledWithout is settled while there are alerts.
func (p *pairSite) settledWithout() string {
	p.t.Helper()
	return active(p.storage("served by one half", func(v roles.PairView) bool { return active(v) != "" }))
}

// staleSurvivor lets one half die, the other one write on and die too, and then only the first one return: it has old
// data and must not serve them.
func (p *pairSite) staleSurvivor() {
	newest := p.settled()
	stale := other(newest)
	first, second := p.half(stale), p.half(newest)
	at := time.Now()
	if err := first.Fail(); err != nil {
		p.t.Fatal(err)
	}
	p.rec.goesOn(p.t, 20)
	alone := p.rec.count()
	if err := second.Fail(); err != nil {
		p.t.Fatal(err)
	}
	first.Repair()
	if err := first.On(); err != nil {
		p.t.Fatal(err)
	}
	on := time.Now()
	never := func(v roles.PairView) {
		p.t.Helper()
		if active(v) == stale { // the other one may have spoken just before it died
			p.t.Fatalf("%s serves old data: %s", stale, asJSON(v))
		}
	}
	var up time.Time
	v := p.storage("waiting, with only its stale half in the cluster", func(v roles.PairView) bool {
		never(v)
		i := slices.IndexFunc(v.Halves, func(h roles.HalfView) bool { return h.Slot == stale })
		if h := v.Halves[i]; h.Phase != roles.PhaseCluster || !h.Quorate || !fresh(h) {
			up = time.Time{}
		} else if up.IsZero() {
			up = time.Now()
		}
		// From here on Pacemaker would promote it within seconds, if it did.
		return !up.IsZero() && time.Since(up) > 30*time.Second
	})
	if v.Outdated != stale || v.Why == "" || len(v.Alerts) == 0 {
		p.t.Errorf("nobody is told that %s is stale and that the pair waits: %s", stale, asJSON(v))
	}
	waited := since(on)
	second.Repair()
	if err := second.On(); err != nil {
		p.t.Fatal(err)
	}
	back := time.Now()
	// The stale one may be the one that serves: when it has got what it missed.
	v = p.storage("served", func(v roles.PairView) bool { return active(v) != "" })
	by := active(v)
	if by == stale && v.Outdated == stale {
		p.t.Errorf("%s serves, and is known to be stale: %s", stale, asJSON(v))
	}
	p.rec.goesOn(p.t, 5)
	served := since(back)
	p.settled()
	p.check()
	p.says(7, "%s dies, %s writes %d records alone and dies; %s returns and is not promoted in %.0f s; %s returns: served by %s after %.0f s, whole after %.0f s; %s",
		stale, newest, alone-p.before(at), stale, waited, newest, by, served, since(back), p.stalls(at))
}

// before is how many records were acknowledged before a time.
func (p *pairSite) before(at time.Time) int {
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	i := slices.IndexFunc(p.rec.acked, func(a ack) bool { return a.at.After(at) })
	if i < 0 {
		return len(p.rec.acked)
	}
	return i
}

// killVote kills the third vote and keeps it from being heard: the pair goes on, in alarm.
func (p *pairSite) killVote() {
	was := p.settled()
	runs := map[string]int{was: p.half(was).PID(), other(was): p.half(other(was)).PID()}
	at := time.Now()
	const closed = "table inet muster_vote { chain in { type filter hook input priority 0; tcp dport 5403 reject with tcp reset; }; }"
	p.run("nft", closed)
	daemons := p.processes("corosync-qnetd")
	if len(daemons) == 0 {
		p.t.Fatal("there is no third vote to kill")
	}
	for _, d := range daemons {
		pid, err := strconv.Atoi(strings.Fields(d)[1])
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	p.storage("in alarm for want of the third vote", func(v roles.PairView) bool {
		return len(v.Alerts) > 0 && !v.Halves[0].QDevice && !v.Halves[1].QDevice
	})
	alarm := since(at)
	p.rec.goesOn(p.t, 20)
	if now := p.settledWithout(); now != was {
		p.t.Errorf("without the third vote %s is active, was %s", now, was)
	}
	p.run("nft", "delete table inet muster_vote")
	back := time.Now()
	v := p.storage("whole", whole)
	for slot, run := range runs {
		if pid := p.half(slot).PID(); pid != run {
			p.t.Errorf("%s was switched off for want of the third vote", slot)
		}
	}
	if now := active(v); now != was || len(v.Alerts) > 0 {
		p.t.Errorf("with the third vote back %s is active, was %s; alerts: %q", now, was, v.Alerts)
	}
	p.check()
	p.says(8, "the third vote is killed: alarm after %.0f s, %s goes on, %s; heard again %.0f s after it may be", alarm, was, p.stalls(at), since(back))
}
