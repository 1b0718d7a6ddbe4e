package roles

import (
	"fmt"
	"strings"
)

// goBack turns a running rollout round: from now on every slot boots From.
func (pl *planner) goBack(cause string) {
	pl.ro.State, pl.ro.Cause, pl.ro.Why = RolloutRollingBack, cause, cause
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		m := pl.member(s)
		switch s.State {
		case slotRestarting:
			pl.turn(s, m)
		case slotFailed:
			pl.recover(s, m)
		}
	}
}

// turn takes back a node whose restart was under way.
func (pl *planner) turn(s *RolloutSlot, m rolloutMember) {
	switch {
	case m.Node == nil, m.state() == StateReady && m.Runs != pl.ro.Image:
		pl.set(s, slotBack)
	case m.Runs == pl.ro.Image:
		pl.set(s, slotDone) // what is to be restarted
	default:
		// It has yet to be told what it boots, and will be told From.
		s.Since = pl.now
	}
}

// recover takes back a node that failed. That costs no node that serves.
func (pl *planner) recover(s *RolloutSlot, m rolloutMember) {
	switch {
	case m.Node == nil, m.state() == StateReady && m.Runs != pl.ro.Image:
		pl.set(s, slotBack)
	case m.Node.Restart != "":
		// It never began to restart, and still runs what it ran.
		pl.acts = append(pl.acts, rolloutAct{Slot: s.Name, Cancel: true})
		pl.set(s, slotBack)
	case m.state() == StateWaiting:
		pl.set(s, slotRestarting) // its agent asks what to boot
	case m.Stuck == "":
		pl.restart(s)
	}
}

// back is one look at a rollout that goes back.
func (pl *planner) back() {
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		pl.noticeBack(s, pl.member(s))
	}
	var blocked bool
	var boots []string
	ready := pl.v.ready()
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		m := pl.member(s)
		if s.State != slotDone {
			continue
		}
		free := m.state() != StateReady
		switch {
		case m.Stuck != "" && m.state() == StateBooting && !pl.late(s.Since):
			boots = append(boots, s.Name) // its agent is about to speak
		case m.Stuck != "":
			pl.set(s, slotFailed)
		case pl.holds(m):
		case !free && ready-1 < pl.v.least():
			blocked = true
		case pl.room():
			if !free {
				ready--
			}
			pl.restart(s)
		}
	}
	switch {
	case pl.count(slotRestarting) > 0:
		pl.ro.Why = fmt.Sprintf("%s; waits for %s to be ready with %s again", pl.ro.Cause, pl.names(slotRestarting), pl.ro.From)
	case len(boots) > 0:
		pl.ro.Why = fmt.Sprintf("%s; waits until %s, which boots, can be restarted", pl.ro.Cause, strings.Join(boots, ", "))
	case pl.held:
		pl.ro.Why = pl.ro.Cause + "; waits: " + pl.v.Hold
	case blocked && !pl.lost():
		pl.ro.Why = pl.ro.Cause + "; " + pl.below(ready)
	case blocked || pl.lost():
		pl.end(RolloutFailed, pl.ro.Cause+"; "+pl.advice())
	default:
		pl.end(RolloutRolledBack, pl.ro.Cause)
	}
}

// noticeBack takes note of what became of a slot.
func (pl *planner) noticeBack(s *RolloutSlot, m rolloutMember) {
	onImage := m.Runs == pl.ro.Image && pl.ro.Image != pl.ro.From
	switch s.State {
	case slotPending, slotBack:
		if onImage {
			pl.set(s, slotDone)
		}
	case slotRestarting:
		switch {
		case m.Node == nil:
			pl.set(s, slotBack)
		case m.state() == StateReady && onImage:
			pl.set(s, slotDone)
		case m.state() == StateReady:
			pl.set(s, slotBack)
		case m.state() == StateFailed, pl.late(s.Since):
			pl.set(s, slotFailed)
		}
	case slotDone:
		switch {
		case m.Node == nil, m.state() == StateReady && !onImage:
			pl.set(s, slotBack)
		case m.state() != StateReady && m.state() != StateFailed && !onImage:
			pl.set(s, slotRestarting) // by itself
		}
	case slotFailed:
		if m.Node == nil || m.state() == StateReady && !onImage {
			pl.set(s, slotBack)
		}
	}
}

// lost reports whether a node that worked before does not come back.
func (pl *planner) lost() bool {
	for _, s := range pl.ro.Slots {
		if s.State == slotFailed && !pl.ailing(s.Name) {
			return true
		}
	}
	return false
}

// advice says what an operator has to do where a rollout could not go back.
func (pl *planner) advice() string {
	var out []string
	for i := range pl.ro.Slots {
		s := &pl.ro.Slots[i]
		m := pl.member(s)
		switch {
		case s.State == slotDone:
			out = append(out, fmt.Sprintf("%s still runs %s: a restart would leave too few ready nodes", s.Name, pl.ro.Image))
		case s.State == slotFailed && m.Stuck != "":
			out = append(out, fmt.Sprintf("%s cannot be restarted (%s): restart it by hand, and it boots %s", s.Name, m.Stuck, pl.ro.From))
		case s.State == slotFailed:
			out = append(out, fmt.Sprintf("%s did not become ready with %s again%s: repair or replace it", s.Name, pl.ro.From, because(m.Node.Why)))
		}
	}
	return strings.Join(out, "; ")
}
