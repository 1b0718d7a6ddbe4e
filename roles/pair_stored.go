package roles

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Stored says why the storage of a pool's nodes is not there yet, "" when it is: for a pool without Storage, and
// for one whose pair serves. image, "web:7", must be offered there; "" for none.
//
// The answer comes from what the halves say every 2 s, and changes without the store's revision. Who holds a
// request open until it changes waits for PairWatch besides Watch, and asks again after some seconds in any case:
// a sync's percents wake nobody, and a half that dies says nothing.
func (r *Registry) Stored(p Pool, image string) (why string) {
	if p.Storage == "" {
		return ""
	}
	err := r.Store.View(func(tx Tx) error {
		pair, err := pairPool(tx, p.Storage)
		if err != nil {
			why = "waits for storage: " + sentence(err)
			return nil
		}
		l := r.pairLook(tx, pair)
		i, ok := l.serving()
		switch {
		case !ok:
			plan, _ := decidePair(l)
			why = "waits for storage: " + l.waiting(plan)
		case image != "" && !slices.Contains(l.Sides[i].Half.Images, image):
			why = fmt.Sprintf("waits for storage: %s is putting %s on the volume", l.Sides[i].Slot, image)
		}
		return nil
	})
	if err != nil {
		return "waits for storage: " + err.Error()
	}
	return why
}

// waiting says what a pair that does not serve waits for.
func (l pairLook) waiting(plan pairPlan) string {
	for i, s := range l.Sides {
		if l.Sides[i].Half.Split && l.fresh(i) {
			return fmt.Sprintf("%s: both halves were written and differ (muster storage status %s)", s.Slot, l.Pair.Pool)
		}
	}
	for i := range l.Sides {
		if plan.Refused[i] != "" && (l.Pair.Made.IsZero() || !l.attached(1-i)) {
			return l.Sides[i].Slot + ": " + plan.Refused[i]
		}
	}
	for i, s := range l.Sides {
		if words := syncWords(s.Half); l.fresh(i) && words != "" {
			return s.Slot + " " + words
		}
	}
	switch {
	case !l.fresh(0) && !l.fresh(1):
		return l.dark()
	case l.fresh(0) && l.fresh(1):
		return l.both(plan)
	case l.fresh(0):
		return l.lone(plan, 0)
	}
	return l.lone(plan, 1)
}

// dark is waiting while no half is heard.
func (l pairLook) dark() string {
	if l.Now.Sub(l.Began) < halfSilent {
		return fmt.Sprintf("%s and %s have not spoken yet", l.Sides[0].Slot, l.Sides[1].Slot)
	}
	a, b := l.silence(0), l.silence(1)
	if a == b {
		return fmt.Sprintf("%s %s, and so %s", l.Sides[0].Slot, a, l.Sides[1].Slot)
	}
	return fmt.Sprintf("%s %s, %s %s", l.Sides[0].Slot, a, l.Sides[1].Slot, b)
}

// lone is waiting while only side i is heard.
func (l pairLook) lone(plan pairPlan, i int) string {
	s, o := l.Sides[i], l.Sides[1-i]
	switch {
	case l.Pair.Made.IsZero():
		return fmt.Sprintf("%s %s; a new pair needs both machines", o.Slot, l.silence(1-i))
	case s.Half.Phase != PhaseCluster:
		return fmt.Sprintf("%s: %s", s.Slot, cmp.Or(plan.Orders[i].Wait, s.Half.Why, "its cluster starts"))
	case s.Half.Standby:
		return l.idle(plan, i)
	case s.Half.Active && s.Half.Frozen:
		return frozenWords(s, o)
	case !s.Half.Quorate:
		return fmt.Sprintf("%s has no quorum yet: %s %s", s.Slot, o.Slot, l.silence(1-i))
	case l.Pair.Promoted == s.Slot:
		return fmt.Sprintf("%s goes on alone, as an operator decided", s.Slot)
	case l.Pair.Active == s.Slot && s.Half.DiskState == upToDate, l.Pair.Outdated == o.Slot && s.Half.DiskState == upToDate:
		return fmt.Sprintf("%s goes on alone: %s %s", s.Slot, o.Slot, l.silence(1-i))
	case s.Half.DiskState == upToDate, l.Pair.Outdated == o.Slot, l.Pair.Outdated != s.Slot && l.justGone(1-i):
		return fmt.Sprintf("%s is taking over: %s %s", s.Slot, o.Slot, l.silence(1-i))
	case l.Pair.Outdated == s.Slot:
		return fmt.Sprintf("%s waits for %s, which has newer data and %s (if it is lost: muster storage promote %s)", s.Slot, o.Slot, l.silence(1-i), s.Slot)
	}
	return fmt.Sprintf("%s waits for its peer, which %s: after a power cut of both it cannot know that it has the newest data (muster storage promote %s goes on without %s)",
		s.Slot, l.silence(1-i), s.Slot, o.Slot)
}

// takeoverTime is how long a takeover may take until somebody is told what else can be done: its data are only
// Consistent until the other half is fenced.
const takeoverTime = 2 * time.Minute

// justGone reports whether side i was heard, or fenced, a moment ago.
func (l pairLook) justGone(i int) bool {
	s := l.Sides[i]
	at, fenced := l.Pair.Fenced[s.Slot]
	return !s.Heard.IsZero() && l.Now.Sub(s.Heard) < takeoverTime || fenced && l.Now.Sub(at) < takeoverTime
}

func frozenWords(s, o pairSide) string {
	return fmt.Sprintf("%s holds up all reads and writes until %s is fenced or back", s.Slot, o.Slot)
}

// both is waiting while both halves are heard.
func (l pairLook) both(plan pairPlan) string {
	for i, s := range l.Sides {
		if s.Half.Phase != PhaseCluster {
			if plan.Orders[i].Format {
				return fmt.Sprintf("%s makes the file system of the new pair", s.Slot)
			}
			return fmt.Sprintf("%s: %s", s.Slot, cmp.Or(plan.Orders[i].Wait, s.Half.Why, "its cluster starts"))
		}
	}
	for i, s := range l.Sides {
		if s.Half.Active && s.Half.Frozen {
			return frozenWords(s, l.Sides[1-i])
		}
	}
	for _, s := range l.Sides {
		if !s.Half.Quorate {
			return fmt.Sprintf("%s has no quorum yet", s.Slot)
		}
	}
	for i, s := range l.Sides {
		if s.Half.Standby && l.lame(plan, 1-i) != "" {
			return l.idle(plan, i)
		}
	}
	for _, s := range l.Sides {
		if len(s.Half.Errors) > 0 {
			return fmt.Sprintf("%s: %s", s.Slot, s.Half.Errors[len(s.Half.Errors)-1])
		}
	}
	return fmt.Sprintf("%s or %s is about to serve", l.Sides[0].Slot, l.Sides[1].Slot)
}

// idle is waiting while an operator keeps side i from serving, and the other one cannot.
func (l pairLook) idle(plan pairPlan, i int) string {
	return fmt.Sprintf("%s is out of service, as an operator wanted (muster storage maintenance %[1]s off), and %s", l.Sides[i].Slot, l.lame(plan, 1-i))
}
