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

// NoteBackup keeps what became of a backup with its pair, and notes it in the events of the half that it was read from; note
// is what that one said.
func (r *Registry) NoteBackup(ctx context.Context, pool string, b PairBackup, note string) error {
	b.To, b.Why = clipped(b.To, halfText), clipped(b.Why, halfText)
	ev := pairEvent{Slot: b.From, Step: StepOperator}
	if b.Why != "" {
		ev.Error = fmt.Sprintf("backup of %s failed: %s", pool, b.Why)
	} else {
		ev.Message = fmt.Sprintf("backup of %s%s: %.1f MiB in %v; %s", pool, toWords(b.To), float64(b.Size)/(1<<20), time.Duration(b.Took).Round(100*time.Millisecond), note)
	}
	err := r.Store.Update(ctx, func(tx Tx) error {
		if _, err := pairPool(tx, pool); err == nil { // else it was taken away meanwhile
			p := pairOf(tx, pool)
			if b.Why != "" {
				p.BackupFailed = b
			} else {
				p.Backup, p.BackupFailed = b, PairBackup{}
			}
			if err := tx.Pairs().Put(p); err != nil {
				return err
			}
		}
		return r.tellPair(tx, []pairEvent{ev})
	})
	r.logPair(ev, err)
	return err
}

func toWords(to string) string {
	if to == "" {
		return ""
	}
	return " to " + to
}

// backupOld says that the pair has no backup that is new enough; empty while it has, and where nobody wants one.
func (l pairLook) backupOld() string {
	most, last, from := time.Duration(l.Spec.BackupAge), l.Pair.Backup.At, l.Pair.Made
	if last.After(from) {
		from = last
	}
	if most == 0 || l.Pair.Made.IsZero() || l.Now.Sub(from) <= most {
		return ""
	}
	s := fmt.Sprintf("there is no backup, and the pair was made %s ago", spanWords(l.Now.Sub(l.Pair.Made)))
	if !last.IsZero() {
		s = fmt.Sprintf("the latest backup is %s old", spanWords(l.Now.Sub(last)))
	}
	s += fmt.Sprintf("; it should be no older than %s", spanWords(most))
	if f := l.Pair.BackupFailed; !f.At.IsZero() {
		s += ". One failed " + spanWords(l.Now.Sub(f.At)) + " ago: " + f.Why
	}
	return s + " (muster storage backup " + l.Pair.Pool + ")"
}

// spanWords is a duration of hours or days, for people: 26 hours, 5 days.
func spanWords(d time.Duration) string {
	switch hours := int(d.Hours()); {
	case d < 2*time.Hour:
		return minutes(d)
	case hours < 72:
		return fmt.Sprintf("%d hours", hours)
	default:
		return fmt.Sprintf("%d days", hours/24)
	}
}

// NoteCopy notes in the events of a half what became of a restore; fault is empty when that was good.
func (r *Registry) NoteCopy(ctx context.Context, slot, message, fault string) error {
	ev := pairEvent{Slot: slot, Step: StepOperator, Message: message, Error: fault}
	err := r.Store.Update(ctx, func(tx Tx) error { return r.tellPair(tx, []pairEvent{ev}) })
	r.logPair(ev, err)
	return err
}
