package roles

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"muster/images"
)

// rolloutView is a pool as the planner of its rollout looks at it.
type rolloutView struct {
	Pool  Pool
	Slots []rolloutMember // all of the pool, by number
	// Watched is since when somebody hears what machines say; what happened before may not be known yet.
	Watched time.Time
	// Hold says why none that serves may be restarted now, whatever the rollout is like: storage that is not there,
	// or not whole. Empty while it may.
	Hold string
	// Superseded says why the rollout is no longer what the operator wants; empty while it is.
	Superseded string
}

// rolloutMember is a slot with its occupant.
type rolloutMember struct {
	Slot string
	// Serves says that it is the half of a storage pair that serves.
	Serves bool
	// Off says that its occupant is switched off.
	Off bool
	// Node is the occupant; nil where there is none, it is off, or on its way elsewhere.
	Node *Node
	// Runs is the image that the machine runs or was told to; zero where that is not known: its next order
	// says, or it never came so far; zero, too, where Moves.
	Runs images.Ref
	// Moves says that it mounts from another storage than its pool has now, and has to restart for that.
	Moves bool
	// Stuck says why it cannot be restarted; empty where it can.
	Stuck string
}

func (m rolloutMember) state() State {
	if m.Node == nil {
		return ""
	}
	return m.Node.State
}

// rolloutView looks at a pool. Watched may be zero: then who does not speak is not there.
func (r *Registry) rolloutView(tx Tx, p Pool, watched time.Time) rolloutView {
	v := rolloutView{Pool: p, Watched: watched}
	for s := range tx.SlotsOf(p.Name) {
		m := rolloutMember{Slot: s.Name}
		n, ok := tx.Nodes().Get(s.Node)
		m.Off = ok && n.State == StateOff
		if ok && n.Pool == p.Name && n.State != StateDraining && !m.Off {
			_, _, byHand := r.driver(n)
			var b Boot
			if n.State != StateReady || byHand != nil { // a timeline takes time to read
				b, _ = latest(tx, n)
			}
			m.Node, m.Runs = &n, runs(n, b)
			if m.Moves = m.Runs.Name != "" && n.Storage != p.Storage; m.Moves {
				m.Runs = images.Ref{}
			}
			if byHand != nil && !r.speaks(n, b) && r.now().Sub(watched) > agentWait {
				m.Stuck = "its own agent does not answer, and it has no power driver"
			}
		}
		v.Slots = append(v.Slots, m)
	}
	r.holdRollout(tx, &v)
	return v
}

// least is how many nodes must stay ready. Of a storage pair one half is enough, whatever its minimum: the other
// goes on alone, and is restarted when both have all data again.
func (v rolloutView) least() int {
	if v.Pool.Pair != nil {
		return min(v.Pool.Size.Min, 1)
	}
	return v.Pool.Size.Min
}

// runs is the image that n runs after what its latest boot came to; see rolloutMember.
func runs(n Node, b Boot) images.Ref {
	told := order(b.Step) >= order(StepSpec)
	switch {
	case n.Restart != "":
		return images.Ref{}
	case n.State == StateBooting && (!told || !b.Ended.IsZero()):
		return images.Ref{}
	case n.State != StateReady && !told:
		return images.Ref{}
	}
	ref, err := images.ParseRef(n.Image)
	if err != nil {
		return images.Ref{}
	}
	return ref
}

// ready counts the nodes that serve.
func (v rolloutView) ready() (count int) {
	for _, m := range v.Slots {
		if m.state() == StateReady {
			count++
		}
	}
	return count
}

// differs reports whether a node of the pool runs something else than ref, or from somewhere else.
func (v rolloutView) differs(ref images.Ref) bool {
	for _, m := range v.Slots {
		if m.Moves || m.Runs.Name != "" && m.Runs != ref {
			return true
		}
	}
	return false
}

// mostRun is what most of the nodes run that serve or, where none does, most of all; zero where nothing runs.
// Of two images that as many run it is the one that is not target.
func (v rolloutView) mostRun(target images.Ref) (most images.Ref) {
	serving := v.ready() > 0
	count := map[images.Ref]int{}
	for _, m := range v.Slots {
		if m.Runs.Name == "" || serving && m.state() != StateReady {
			continue
		}
		count[m.Runs]++
		if n, best := count[m.Runs], count[most]; n > best || n == best && most == target {
			most = m.Runs
		}
	}
	return most
}

// possible says what would keep a rollout from its end for ever.
func (v rolloutView) possible(ro Rollout) error {
	var members, ready int
	var stuck []string
	for _, m := range v.Slots {
		if m.Off || m.Node != nil {
			members++
		}
		if m.state() == StateReady && m.Runs != ro.Image {
			ready++
			if m.Stuck != "" {
				stuck = append(stuck, m.Slot+": "+m.Stuck)
			}
		}
	}
	if len(stuck) > 0 {
		return fmt.Errorf("pool %s: not every node can be restarted (%s); restart it by hand, or declare how it is switched: %w",
			v.Pool.Name, strings.Join(stuck, "; "), fs.ErrInvalid)
	}
	if least := v.least(); ready > 0 && members <= least {
		return fmt.Errorf("pool %s has %d nodes, and its minimum is %d: none could ever be restarted; add a node, or lower size.min to %d: %w",
			v.Pool.Name, members, least, max(members-1, 0), fs.ErrInvalid)
	}
	return nil
}
