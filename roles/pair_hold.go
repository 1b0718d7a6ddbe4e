package roles

import (
	"fmt"
	"time"
)

// Bounds of what a pair's pause excuses.
const (
	// excuseAfter is how long the active half must be silent before the nodes that mount from it are excused.
	excuseAfter = 5 * time.Second
	// excuseGrace is for how long they are, after it serves again: clients wait longer and longer between two tries.
	excuseGrace = 60 * time.Second
)

// excused reports whether what is wrong with a node may be that its storage is not there, or was not a moment ago:
// the storage that it mounts from, and for one that boots that of its pool as well.
func (r *Registry) excused(tx Tx, n Node, now time.Time) bool {
	excuses := func(storage string) bool {
		s := r.pairs.service(storage)
		return storage != "" && (s.last.IsZero() || now.Sub(s.last) > excuseAfter || now.Sub(s.since) < excuseGrace)
	}
	p, _ := tx.Pools().Get(n.Pool)
	return excuses(n.Storage) || n.State == StateBooting && excuses(p.Storage)
}

// holdRollout says in a view whether storage keeps its nodes from being restarted. The words do not change with every
// look: they are kept.
func (r *Registry) holdRollout(tx Tx, v *rolloutView) {
	if v.Pool.Pair != nil {
		r.holdPair(tx, v)
		return
	}
	if v.Pool.Storage == "" {
		return
	}
	pair, err := pairPool(tx, v.Pool.Storage)
	if err != nil {
		v.Hold = sentence(err)
		return
	}
	l := r.pairLook(tx, pair)
	if _, ok := l.serving(); !ok {
		v.Hold = fmt.Sprintf("the storage pair %s does not serve (muster storage status %[1]s)", pair.Name)
	}
	// Nobody is late who had nothing to mount.
	if l.Service.since.After(v.Watched) {
		v.Watched = l.Service.since
	}
	if v.Hold != "" {
		v.Watched = l.Now
	}
}

// holdPair is holdRollout for a pair's own machines.
func (r *Registry) holdPair(tx Tx, v *rolloutView) {
	l := r.pairLook(tx, v.Pool)
	i, serves := l.serving()
	if serves {
		for k := range v.Slots {
			v.Slots[k].Serves = v.Slots[k].Slot == l.Sides[i].Slot
		}
	}
	plan, _ := decidePair(l)
	if state, _ := l.state(plan); state != PairWhole && !plan.Pair.Made.IsZero() {
		v.Hold = fmt.Sprintf("the pair %s is not whole (muster storage status %[1]s)", v.Pool.Name)
	}
}
