package roles

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
)

// Pairs gives every storage pair, by name.
func (r *Registry) Pairs() (out []PairView, err error) {
	err = r.Store.View(func(tx Tx) error {
		for p := range tx.Pools().All() {
			if p.Pair != nil {
				out = append(out, r.pairView(r.pairLook(tx, p)))
			}
		}
		return nil
	})
	return out, err
}

// Pair gives one storage pair.
func (r *Registry) Pair(pool string) (out PairView, err error) {
	err = r.Store.View(func(tx Tx) error {
		p, err := pairPool(tx, pool)
		if err == nil {
			out = r.pairView(r.pairLook(tx, p))
		}
		return err
	})
	return out, err
}

// pairPool gives a pool that is a storage pair.
func pairPool(tx Tx, pool string) (Pool, error) {
	p, ok := tx.Pools().Get(pool)
	switch {
	case !ok:
		return p, fmt.Errorf("pool %q does not exist (there are: %s): %w", pool, names(tx), fs.ErrNotExist)
	case p.Pair == nil:
		return p, fmt.Errorf("pool %s is no storage pair: %w", pool, fs.ErrInvalid)
	}
	return p, nil
}

func (r *Registry) pairView(l pairLook) PairView {
	plan, _ := decidePair(l)
	v := PairView{Pair: plan.Pair, Address: l.Spec.Address}
	v.State, v.Why = l.state(plan)
	_, v.Serving = l.serving()
	var fences [2]fencing
	for i, s := range l.Sides {
		if !s.Node.IsZero() { // else what is known is of the machine that was in it
			fences[i] = r.pairs.fencingOf(s.Slot)
		}
		h := HalfView{Half: s.Half, Slot: s.Slot, Node: s.Node, State: s.State, Heard: s.Heard, Fencing: fences[i].why, FencingAt: fences[i].at}
		h.Why = cmp.Or(plan.Refused[i], h.Why, plan.Orders[i].Wait)
		v.Halves = append(v.Halves, h)
	}
	v.Alerts = l.alerts(plan, fences)
	return v
}

// state is the pair's state, and why in a sentence.
func (l pairLook) state(plan pairPlan) (state, why string) {
	i, serves := l.serving()
	switch {
	case l.split():
		return PairSplit, "both halves were written and differ; nothing is discarded by itself"
	case plan.Pair.Made.IsZero():
		return PairNew, l.waiting(plan)
	case !serves:
		return PairDown, l.waiting(plan)
	}
	if bad := l.lame(plan, 1-i); bad != "" {
		return PairDegraded, bad
	}
	if h := l.Sides[i].Half; h.DiskState != upToDate && h.DiskState != "" {
		return PairDegraded, fmt.Sprintf("the data of %s are %s", l.Sides[i].Slot, h.DiskState)
	}
	return PairWhole, ""
}

// lame says why side i could not take over now; empty when it could.
func (l pairLook) lame(plan pairPlan, i int) string {
	s, h := l.Sides[i], l.Sides[i].Half
	switch {
	case s.Node.IsZero():
		return fmt.Sprintf("%s is empty: no machine is in it", s.Slot)
	case !l.fresh(i):
		return s.Slot + " " + l.silence(i)
	case plan.Refused[i] != "":
		return s.Slot + ": " + plan.Refused[i]
	case h.Phase != PhaseCluster:
		return fmt.Sprintf("%s is not in the cluster: %s", s.Slot, cmp.Or(h.Why, plan.Orders[i].Wait, "it starts"))
	case h.Standby:
		return fmt.Sprintf("%s is out of service, as an operator wanted", s.Slot)
	case h.DiskState == upToDate && h.together():
		return ""
	case syncWords(h) != "":
		return s.Slot + " " + syncWords(h)
	}
	return fmt.Sprintf("%s is not in sync (%s, %s)", s.Slot, cmp.Or(h.DiskState, "no disk"), cmp.Or(h.Connection, "not connected"))
}

// silence says since when side i, which is not heard, is so, and what its machine does.
func (l pairLook) silence(i int) string {
	s := l.Sides[i]
	at, fenced := l.Pair.Fenced[s.Slot]
	switch {
	case fenced && slices.Contains(l.Pair.Standby, s.Slot):
		return fmt.Sprintf("was switched off by its other half %s ago, and stays so while it is out of service", ago(l.Now, at))
	case fenced && s.State == StateFailed:
		return fmt.Sprintf("was switched off by its other half %s ago, and could not be switched on again", ago(l.Now, at))
	case fenced:
		return fmt.Sprintf("was switched off by its other half %s ago, and is switched on again soon", ago(l.Now, at))
	case s.State == StateOff:
		return "is switched off"
	case s.State == StateBooting:
		return "boots"
	case s.Node.IsZero(), s.Heard.IsZero():
		return "has not been seen"
	}
	return fmt.Sprintf("has not been heard for %s", ago(l.Now, s.Heard))
}

// alerts are what somebody has to do something about.
func (l pairLook) alerts(plan pairPlan, fences [2]fencing) (out []string) {
	alert := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch state, why := l.state(plan); state {
	case PairSplit:
		alert("both halves were written and differ (split); decide whose data stay: %s, or %s", keepCommand(l.Sides[0].Slot), keepCommand(l.Sides[1].Slot))
	case PairDegraded:
		alert("the pair runs on one leg: %s", why)
	case PairDown:
		alert("the pair does not serve: %s", why)
	}
	if old := l.backupOld(); old != "" {
		alert("%s", old)
	}
	if l.fresh(0) && l.fresh(1) && l.Sides[0].Half.Active && l.Sides[1].Half.Active {
		alert("both halves say that they serve: look at both consoles")
	}
	for i, s := range l.Sides {
		if fences[i].why != "" {
			alert("%s; without fencing there is no failover", fences[i].why)
		}
		if at, fenced := l.Pair.Fenced[s.Slot]; fenced && l.Now.Sub(at) > 2*fencedWait && !slices.Contains(l.Pair.Standby, s.Slot) {
			alert("%s was switched off by its other half %s ago and is not on again: switch it on by hand", s.Slot, ago(l.Now, at))
		}
		if l.fresh(i) {
			out = append(out, halfAlerts(s, plan.Refused[i])...)
		}
	}
	return out
}

// halfAlerts are those of what one half says.
func halfAlerts(s pairSide, refused string) (out []string) {
	h := s.Half
	alert := func(format string, args ...any) { out = append(out, s.Slot+": "+fmt.Sprintf(format, args...)) }
	switch {
	case refused != "":
		alert("%s", refused)
	case h.Phase == PhaseRefused:
		alert("%s", cmp.Or(h.Why, "its disk is refused"))
	}
	if h.Phase == PhaseCluster {
		if !h.Quorate {
			alert("it has no quorum, and runs nothing")
		} else if !h.QDevice {
			alert("it does not hear the boot server's vote: if the other half dies now, it stops too")
		}
	}
	if h.Capacity > 0 && h.full(false) {
		alert("the volume is %.0f %% full (%s of %s)", float64(h.Used)/float64(h.Capacity)*100, size(h.Used), size(h.Capacity))
	}
	return out
}

// tellState tells when a pair came to another state. A half that is not heard for a moment is no news.
func (r *Registry) tellState(ctx context.Context, l pairLook) error {
	if l.Now.Sub(l.Began) < halfGone {
		return nil
	}
	for i, s := range l.Sides {
		_, fenced := l.Pair.Fenced[s.Slot]
		if quiet := l.Now.Sub(s.Heard); !fenced && !s.Heard.IsZero() && !l.fresh(i) && quiet < halfGone {
			return nil
		}
	}
	plan, _ := decidePair(l)
	state, why := l.state(plan)
	was := r.pairs.tells(l.Pair.Pool, state)
	if was == state || was == "" {
		return nil
	}
	i := max(l.side(plan.Pair.Active), 0)
	ev := pairEvent{Slot: l.Sides[i].Slot, Step: StepStorage}
	switch state {
	case PairWhole:
		ev.Message = fmt.Sprintf("the pair %s is whole", l.Pair.Pool)
	case PairDegraded:
		ev.Error = fmt.Sprintf("the pair %s runs on one leg: %s", l.Pair.Pool, why)
	case PairDown:
		ev.Error = fmt.Sprintf("the pair %s does not serve: %s", l.Pair.Pool, why)
	default:
		return nil // a half tells of a split itself
	}
	err := r.Store.Update(ctx, func(tx Tx) error { return r.tellPair(tx, []pairEvent{ev}) })
	r.logPair(ev, err)
	return err
}

// tells notes that a state of a pair is told, and gives the one before.
func (m *pairMemory) tells(pool, state string) (was string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was = m.told[pool]
	m.told[pool] = state
	return was
}
