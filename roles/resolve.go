package roles

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PoolView is a pool with its slots, as Resolve looks at it.
type PoolView struct {
	Pool
	Slots []SlotView
}

// SlotView is a slot with its occupant; Occupant is nil when the slot is empty.
type SlotView struct {
	Slot
	Occupant *Node
}

// missing is how many nodes the pool is below its minimum; a failed occupant does not count as one.
func (p PoolView) missing() int {
	alive := 0
	for _, s := range p.Slots {
		if s.Occupant != nil && s.Occupant.State != StateFailed {
			alive++
		}
	}
	return max(0, p.Size.Min-alive)
}

// Placement is what Resolve decided for a machine.
type Placement struct {
	// Pool and Slot are where the machine belongs; empty when it waits.
	Pool, Slot string
	// Takes is the failed occupant whose slot it takes over; zero for none.
	Takes MAC
	// Later says that rules are undecided until the machine has told its inventory.
	Later bool
	// Why is the decision in a sentence, Match the rules behind it.
	Why   string
	Match []string
}

// Resolve says where a machine belongs. It is pure: the same machine and pools give the same answer.
//
// A machine stays where it is; an assigned one goes to its pool; a replaced one waits for an operator;
// for any other the pools' rules decide: pools below their minimum first, then by priority (the higher
// first), then by name. Within the pool it takes the lowest slot that was left empty by another machine,
// then one whose occupant has been failed for the pool's takeover time, then a slot never used: a
// replacement takes over an identity before the pool grows.
func Resolve(n Node, pools []PoolView, now time.Time) Placement {
	if n.Pool != "" && (n.Assigned || n.Slot != "") {
		return resolveMember(n, pools, now)
	}
	if r := n.Replaced; r != nil {
		return Placement{Why: fmt.Sprintf(
			"%s took over %s at %s; assign this machine to a pool, or forget it, to use it again",
			r.By, r.Slot, r.At.Format(time.DateTime))}
	}
	if n.Released {
		return Placement{Why: "released by an operator; assign it to a pool to use it again"}
	}
	return resolveRules(n, pools, now)
}

// resolveMember handles a machine whose pool is given.
func resolveMember(n Node, pools []PoolView, now time.Time) Placement {
	i := slices.IndexFunc(pools, func(p PoolView) bool { return p.Name == n.Pool })
	if i < 0 {
		return Placement{Why: fmt.Sprintf("it is assigned to pool %s, which does not exist", n.Pool)}
	}
	p := pools[i]
	for _, s := range p.Slots {
		if s.Node == n.MAC && (n.WantSlot == "" || n.WantSlot == s.Name) {
			return Placement{Pool: p.Name, Slot: s.Name, Why: n.Joined, Match: n.Match}
		}
	}
	why := "assigned to pool " + p.Name + " by an operator"
	if n.WantSlot != "" {
		return wantedSlot(n, p, why)
	}
	s, ok := p.choose(now)
	if !ok {
		return Placement{Why: fmt.Sprintf("it is assigned to pool %s, which is full (%d slots)", p.Name, len(p.Slots))}
	}
	return place(p, s, why, nil)
}

func wantedSlot(n Node, p PoolView, why string) Placement {
	for _, s := range p.Slots {
		if s.Name != n.WantSlot {
			continue
		}
		if s.Occupant != nil {
			return Placement{Why: fmt.Sprintf("it is assigned to slot %s, which %s occupies", s.Name, s.Node)}
		}
		return place(p, s, why, nil)
	}
	return Placement{Why: fmt.Sprintf("it is assigned to slot %s, which pool %s does not have", n.WantSlot, p.Name)}
}

// resolveRules handles a machine that nobody assigned.
func resolveRules(n Node, pools []PoolView, now time.Time) Placement {
	if len(pools) == 0 {
		return Placement{Why: "no pool is declared yet"}
	}
	ordered := slices.Clone(pools)
	slices.SortFunc(ordered, byNeed)
	var reasons, full []string
	for _, p := range ordered {
		v, texts := p.Match.evaluate(n)
		reason := fmt.Sprintf("%s: %s", p.Name, strings.Join(texts, "; "))
		switch v {
		case no:
			reasons = append(reasons, reason)
		case undecided:
			// A later pool must not win only because it asks for less.
			return Placement{Later: true, Why: "pool " + p.Name + " decides when the machine has told its inventory",
				Match: append(reasons, reason)}
		case yes:
			s, ok := p.choose(now)
			if !ok {
				reasons, full = append(reasons, reason+"; but it is full"), append(full, p.Name)
				continue
			}
			return place(p, s, "joined pool "+p.Name+" by its rule", append(reasons, reason))
		}
	}
	if len(full) > 0 {
		return Placement{Why: fmt.Sprintf("its pool is full (%s): no slot is free, and no machine in one has failed for long enough", strings.Join(full, ", ")), Match: reasons}
	}
	return Placement{Why: "no pool's rule takes this machine; assign it to one", Match: reasons}
}

// byNeed orders pools: those below their minimum first, then by priority, then by name.
func byNeed(a, b PoolView) int {
	if an, bn := a.missing() > 0, b.missing() > 0; an != bn {
		if an {
			return -1
		}
		return 1
	}
	if a.Priority != b.Priority {
		return b.Priority - a.Priority
	}
	return strings.Compare(a.Name, b.Name)
}

// choose picks the slot for a machine that joins p.
func (p PoolView) choose(now time.Time) (SlotView, bool) {
	rank := func(s SlotView) int {
		switch {
		case s.Occupant == nil && s.Used:
			return 1
		case s.Occupant != nil && s.Occupant.State == StateFailed && now.Sub(s.Occupant.Since) >= p.Takeover.Or(DefaultTakeover):
			return 2
		case s.Occupant == nil:
			return 3
		}
		return 0
	}
	best, bestRank := SlotView{}, 0
	for _, s := range p.Slots {
		if r := rank(s); r != 0 && (bestRank == 0 || r < bestRank) {
			best, bestRank = s, r
		}
	}
	return best, bestRank != 0
}

// DefaultTakeover is how long an occupant must have been failed before its slot is given away: longer
// than a service's restart, shorter than the walk to the rack.
const DefaultTakeover = 30 * time.Second

func place(p PoolView, s SlotView, why string, match []string) Placement {
	out := Placement{Pool: p.Name, Slot: s.Name, Why: why, Match: match}
	if s.Occupant != nil {
		out.Takes = s.Node
		out.Why += fmt.Sprintf(", in place of %s, which failed: %s", s.Node, s.Occupant.Why)
	} else if s.Used {
		out.Why += ", in a slot that another machine left"
	}
	return out
}
