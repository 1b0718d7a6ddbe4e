package roles

import (
	"context"
	"fmt"
	"time"
)

// BackupHalf gives the half of which a backup is taken: the one that does not serve, while both have all data. The error
// wraps fs.ErrInvalid and says why there is none now.
func (v PairView) BackupHalf() (HalfView, error) {
	active, idle := v.sides()
	switch {
	case v.Made.IsZero():
		return HalfView{}, refuse("the pair %s is new: nothing is on it", v.Pool)
	case active == nil || v.State == PairDown:
		return HalfView{}, refuse("the pair %s does not serve (%s): a backup is taken when it does", v.Pool, v.Why)
	case v.State != PairWhole || idle == nil:
		return HalfView{}, refuse("a backup is taken from the half that does not serve, and that one cannot give one now: the pair %s is %s (%s)", v.Pool, v.State, v.Why)
	case idle.Connection != "Connected":
		return HalfView{}, refuse("%s is at work with its other half (%s): a backup is taken when that is done", idle.Slot, idle.Connection)
	}
	return *idle, nil
}

// RestoreHalf gives the half that takes a restore: the one that serves. The error wraps fs.ErrInvalid.
func (v PairView) RestoreHalf() (HalfView, error) {
	active, _ := v.sides()
	if active == nil || !v.Serving {
		return HalfView{}, refuse("the pair %s does not serve (%s): it takes nothing now", v.Pool, v.Why)
	}
	if active.Frozen {
		return HalfView{}, refuse("%s waits until its other half is off or back: it takes nothing now", active.Slot)
	}
	return *active, nil
}

// sides gives the half that serves and the other one; nil for one that there is not.
func (v PairView) sides() (active, idle *HalfView) {
	for i := range v.Halves {
		switch h := &v.Halves[i]; {
		case !h.Active:
			idle = h
		case active == nil || h.Heard.After(active.Heard):
			active = h
		}
	}
	return active, idle
}

// Lost says, in a sentence, that a machine which is at work for somebody is not any more: another one is in the slot, or
// it has been silent for long. Empty while it is there.
func (v PairView) Lost(slot string, node MAC, now time.Time) string {
	for _, h := range v.Halves {
		switch {
		case h.Slot != slot:
		case h.Node != node:
			return slot + " is another machine by now"
		case now.Sub(h.Heard) > halfSilent:
			return fmt.Sprintf("%s has died in the middle of it, or cannot be reached", slot)
		default:
			return ""
		}
	}
	return slot + " is no half of the pair any more"
}

// NoteCopy notes in the events of a half what became of a backup or a restore; fault is empty when that was good.
func (r *Registry) NoteCopy(ctx context.Context, slot, message, fault string) error {
	ev := pairEvent{Slot: slot, Step: StepOperator, Message: message, Error: fault}
	err := r.Store.Update(ctx, func(tx Tx) error { return r.tellPair(tx, []pairEvent{ev}) })
	r.logPair(ev, err)
	return err
}
