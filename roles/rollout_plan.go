package roles

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states of a slot in a rollout.
const (
	slotPending    = "pending"    // it boots From
	slotRestarting = "restarting" // it is to become ready with Image or, while the rollout goes back, with From
	slotDone       = "done"       // it was ready with Image
	slotFailed     = "failed"
	slotBack       = "back"
)

// rolloutAct is what is to be done to the occupant of a slot.
type rolloutAct struct {
	Slot string
	// Cancel takes back the wish that it restarts; otherwise it is asked to restart.
	Cancel bool
}

// planner takes one look at a rollout. It is pure: the same rollout, pool and time give the same plan.
type planner struct {
	v    rolloutView
	ro   Rollout // as it is after the look; its Slots are the planner's own
	now  time.Time
	acts []rolloutAct
	at   map[string]int // where each of the rollout's slots is in the view
	held bool           // something would be restarted, were it not for the view's Hold
}

// planRollout says how a rollout that is active goes on.
func planRollout(v rolloutView, ro Rollout, now time.Time) (Rollout, []rolloutAct) {
	pl := planner{v: v, ro: ro, now: now}
	pl.join()
	if v.Superseded != "" {
		pl.giveUp(v.Superseded)
		return pl.ro, pl.acts
	}
	if pl.ro.State == RolloutRunning {
		pl.forward()
	} else {
		pl.back()
	}
	return pl.ro, pl.acts
}

// join brings the slots of the rollout to those of the pool: nodes that joined meanwhile count too.
func (pl *planner) join() {
	had := map[string]RolloutSlot{}
	for _, s := range pl.ro.Slots {
		had[s.Name] = s
	}
	pl.ro.Slots, pl.at = []RolloutSlot{}, map[string]int{}
	for i, m := range pl.v.Slots {
		s, ok := had[m.Slot]
		if !ok && m.Node == nil {
			continue
		}
		if !ok {
			s = RolloutSlot{m.Slot, slotPending, pl.now}
		}
		pl.ro.Slots, pl.at[m.Slot] = append(pl.ro.Slots, s), i
	}
}

// member is the slot's place in the pool.
func (pl *planner) member(s *RolloutSlot) rolloutMember { return pl.v.Slots[pl.at[s.Name]] }

func (pl *planner) set(s *RolloutSlot, state string) {
	if s.State != state {
		s.State, s.Since = state, pl.now
	}
}

func (pl *planner) restart(s *RolloutSlot) {
	s.State, s.Since = slotRestarting, pl.now
	pl.acts = append(pl.acts, rolloutAct{Slot: s.Name})
}

// late reports whether something that began then has taken longer than a node may.
func (pl *planner) late(since time.Time) bool {
	if since.Before(pl.v.Watched) {
		since = pl.v.Watched
	}
	return pl.now.Sub(since) > time.Duration(pl.ro.Timeout)
}

func (pl *planner) count(state string) (n int) {
	for _, s := range pl.ro.Slots {
		if s.State == state {
			n++
		}
	}
	return n
}

func (pl *planner) ailing(slot string) bool { return slices.Contains(pl.ro.Ailing, slot) }

// end ends the rollout.
func (pl *planner) end(state RolloutState, why string) {
	pl.ro.State, pl.ro.Why, pl.ro.Ended = state, why, pl.now
}

// giveUp ends the rollout where it is: nothing more is restarted.
func (pl *planner) giveUp(why string) {
	if pl.ro.Cause != "" {
		why = pl.ro.Cause + "; then " + why
	}
	pl.end(RolloutFailed, why)
}

// forward is one look at a rollout that is running.
func (pl *planner) forward() {
	cause := ""
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		if why := pl.notice(s, pl.member(s)); why != "" {
			pl.set(s, slotFailed)
			if !pl.ailing(s.Name) {
				cause = cmp.Or(cause, why)
			}
		}
	}
	if cause != "" {
		pl.goBack(cause)
		return
	}
	pl.next()
}

// notice takes note of what became of a slot; it gives a sentence when it failed.
func (pl *planner) notice(s *RolloutSlot, m rolloutMember) (failed string) {
	done := m.state() == StateReady && m.Runs == pl.ro.Image
	switch s.State {
	case slotPending:
		if done {
			pl.set(s, slotDone)
		}
	case slotFailed: // it was ailing
		if done {
			pl.set(s, slotDone)
		}
	case slotDone:
		switch {
		case m.state() == StateFailed:
			return fmt.Sprintf("%s failed after it was ready with %s: %s", s.Name, pl.ro.Image, m.Node.Why)
		case m.state() == StateReady && !done:
			pl.set(s, slotPending)
		}
	case slotRestarting:
		switch {
		case done:
			pl.set(s, slotDone)
		case m.Node == nil, m.state() == StateReady:
			// It was switched off or left, or it never restarted: whoever boots here next gets From.
			pl.set(s, slotPending)
		case m.state() == StateFailed:
			return fmt.Sprintf("%s failed with %s: %s", s.Name, pl.ro.Image, m.Node.Why)
		case pl.late(s.Since):
			return fmt.Sprintf("%s was not ready with %s within %s%s", s.Name, pl.ro.Image, pl.ro.Timeout, because(m.Node.Why))
		}
	}
	return ""
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// next restarts what may be restarted now, or ends the rollout.
func (pl *planner) next() {
	var stuck *RolloutSlot
	var blocked, waits []string
	ready := pl.v.ready()
	for _, s := range pl.inOrder() {
		m := pl.member(s)
		if s.State != slotPending || m.state() != StateReady {
			continue
		}
		switch {
		case m.Stuck != "":
			stuck = cmp.Or(stuck, s)
		case pl.holds(m):
		case ready-1 < pl.v.least():
			blocked = append(blocked, s.Name)
		case !pl.room():
			waits = append(waits, s.Name)
		default:
			ready--
			pl.restart(s)
		}
	}
	active := pl.count(slotRestarting)
	if len(waits) == 0 && (len(blocked) == 0 || active == 0) {
		// What has failed is no loss, and no proof: it goes last, or where nothing else can.
		waits = append(waits, pl.nextAiling()...)
		active = pl.count(slotRestarting)
	}
	switch {
	case active > 0:
		pl.ro.Why = fmt.Sprintf("waits for %s to be ready with %s", pl.names(slotRestarting), pl.ro.Image)
	case pl.held:
		pl.ro.Why = "waits: " + pl.v.Hold
	case len(blocked) > 0:
		pl.ro.Why = pl.below(ready)
	case len(waits) > 0:
		pl.ro.Why = fmt.Sprintf("waits until %s is ready", strings.Join(waits, ", "))
	case stuck != nil:
		pl.set(stuck, slotFailed)
		pl.goBack(fmt.Sprintf("%s cannot be restarted: %s", stuck.Name, pl.member(stuck).Stuck))
	case pl.count(slotDone) == 0 && pl.count(slotFailed) > 0:
		pl.goBack(fmt.Sprintf("no node became ready with %s", pl.ro.Image))
	default:
		pl.end(RolloutDone, pl.leftovers())
	}
}

// nextAiling restarts nodes that do not work anyway. It gives those that have yet to be heard of.
func (pl *planner) nextAiling() (waits []string) {
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		m := pl.member(s)
		if s.State != slotPending || m.Node == nil || m.state() == StateReady {
			continue
		}
		switch {
		case m.state() != StateFailed && !pl.late(m.Node.Since):
			waits = append(waits, s.Name)
		case m.Stuck == "" && pl.holds(m):
		case m.Stuck == "" && pl.room():
			pl.ro.Ailing = append(slices.Clip(pl.ro.Ailing), s.Name)
			pl.restart(s)
		case m.Stuck == "":
			waits = append(waits, s.Name)
		}
	}
	return waits
}

// inOrder gives the rollout's slots in the order in which they are restarted: the half that serves goes last.
func (pl *planner) inOrder() []*RolloutSlot {
	var first, last []*RolloutSlot
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		if pl.member(s).Serves {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	return append(first, last...)
}

// holds reports whether a node may not be restarted now because of the view's Hold, and notes that. Of a storage
// pair what does not work may.
func (pl *planner) holds(m rolloutMember) bool {
	if pl.v.Hold == "" || pl.v.Pool.Pair != nil && m.state() != StateReady && !m.Serves {
		return false
	}
	pl.held = true
	return true
}

// room reports whether one more node may restart.
func (pl *planner) room() bool {
	limit := pl.ro.Batch
	if missing := pl.ro.Canary - pl.count(slotDone); missing > 0 && pl.ro.State == RolloutRunning {
		limit = missing
	}
	if pl.v.Pool.Pair != nil {
		limit = 1
	}
	return pl.count(slotRestarting) < limit
}

func (pl *planner) names(state string) string {
	var out []string
	for _, s := range pl.ro.Slots {
		if s.State == state {
			out = append(out, s.Name)
		}
	}
	return strings.Join(out, ", ")
}

// below says why nothing can be restarted now.
func (pl *planner) below(ready int) string {
	why := fmt.Sprintf("waits: %d ready nodes are no more than the pool's minimum, %d", ready, pl.v.least())
	var down []string
	for _, m := range pl.v.Slots {
		switch {
		case m.Off:
			down = append(down, m.Slot+" is off")
		case m.Node != nil && m.state() != StateReady:
			down = append(down, fmt.Sprintf("%s is %s", m.Slot, m.state()))
		}
	}
	if len(down) > 0 {
		return why + " (" + strings.Join(down, ", ") + ")"
	}
	return why + "; add a node, or lower size.min"
}

// leftovers says which nodes do not run the image, though the rollout is done.
func (pl *planner) leftovers() string {
	var out []string
	for i := range pl.ro.Slots {
		if s := &pl.ro.Slots[i]; s.State != slotDone && pl.member(s).Node != nil {
			out = append(out, s.Name)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("not ready, and to boot %s next time: %s", pl.ro.Image, strings.Join(out, ", "))
}
