package roles

import (
	"fmt"
	"io/fs"
	"time"
)

// halfIdentity is who speaks as a half.
type halfIdentity struct {
	node Node
	boot Boot
	pool Pool
	slot Slot
	// peer is the other slot.
	peer Slot
}

// halfOf gives the half whose running system has this key: see PairReport.
func halfOf(tx Tx, mac MAC, key string) (halfIdentity, error) {
	claim, err := claimOf(key)
	if err != nil {
		return halfIdentity{}, err
	}
	n, b, err := running(tx, mac, claim)
	if err != nil {
		return halfIdentity{}, err
	}
	s, ok := tx.Slots().Get(n.Slot)
	if !ok || s.Node != mac || b.Slot != n.Slot {
		return halfIdentity{}, fmt.Errorf("roles: %s no longer has %s, for which it booted; it has to restart: %w", mac, b.Slot, fs.ErrPermission)
	}
	p, _ := tx.Pools().Get(s.Pool)
	if p.Pair == nil {
		return halfIdentity{}, fmt.Errorf("roles: pool %s is no storage pair: %w", s.Pool, fs.ErrInvalid)
	}
	w := halfIdentity{node: n, boot: b, pool: p, slot: s}
	for o := range tx.SlotsOf(p.Name) {
		if o.Name != s.Name {
			w.peer = o
		}
	}
	if at, off := pairOf(tx, p.Name).Fenced[s.Name]; off && !b.Started.After(at) {
		return w, fmt.Errorf("roles: %s was switched off by %s; what it says counts no more until it boots again: %w", s.Name, w.peer.Name, fs.ErrPermission)
	}
	return w, nil
}

// pairOf is what is kept of a pair; a new one where nothing is.
func pairOf(tx Tx, pool string) Pair {
	p, _ := tx.Pairs().Get(pool)
	p.Pool = pool
	return p
}

// pairSide is what is seen of one half.
type pairSide struct {
	Slot string
	// Node occupies the slot, zero for nobody; State is its state, and Off that it is switched off.
	Node  MAC
	State State
	// Half is what it said last, at Heard; zero where it has not spoken.
	Half  Half
	Heard time.Time
	// Ready, Active and Verified are since when it has been ready and active without a break, and when it last
	// came to another outcome of a verification; zero for not.
	Ready, Active, Verified time.Time
}

// pairLook is one look at a pair: all that its rules decide by.
type pairLook struct {
	Spec  PairSpec
	Pair  Pair
	Sides [2]pairSide
	// Service is when it was active.
	Service pairService
	Now     time.Time
	// Began is since when somebody listens: a half that has not spoken since then may be about to.
	Began time.Time
}

// fresh reports whether what side i said still counts.
func (l pairLook) fresh(i int) bool {
	s := l.Sides[i]
	return !s.Heard.IsZero() && l.Now.Sub(s.Heard) <= halfSilent
}

// side is the place of a slot; -1 for none of the pair's.
func (l pairLook) side(slot string) int {
	for i, s := range l.Sides {
		if s.Slot == slot {
			return i
		}
	}
	return -1
}

// knows reports whether side i says that it has the disk that the pair knows as its.
func (l pairLook) knows(i int) bool {
	s := l.Sides[i]
	return l.fresh(i) && s.Half.Meta != "" && s.Half.Meta == l.Pair.Disks[s.Slot].Meta
}

// attached reports whether side i has its own disk at work.
func (l pairLook) attached(i int) bool {
	p := l.Sides[i].Half.Phase
	return l.knows(i) && (p == PhaseReady || p == PhaseCluster)
}

// serving gives the half that serves; ok is false where none does.
func (l pairLook) serving() (i int, ok bool) {
	for i, s := range l.Sides {
		if l.fresh(i) && s.Half.Active && !s.Half.Frozen {
			return i, true
		}
	}
	return 0, false
}

// inSync reports whether both say that both have all data, and are connected.
func (l pairLook) inSync() bool {
	for i, s := range l.Sides {
		h := s.Half
		if !l.fresh(i) || h.DiskState != upToDate || h.PeerDisk != upToDate || !h.together() {
			return false
		}
	}
	return true
}

// together reports whether the half is connected to the other, and nothing is to be copied.
func (h Half) together() bool {
	return h.Connection == connected || h.Connection == "VerifyS" || h.Connection == "VerifyT"
}

// split reports whether a half says that both were written.
func (l pairLook) split() bool {
	return l.fresh(0) && l.Sides[0].Half.Split || l.fresh(1) && l.Sides[1].Half.Split
}

// Words of DRBD.
const (
	upToDate     = "UpToDate"
	consistent   = "Consistent"
	inconsistent = "Inconsistent"
	outdated     = "Outdated"
	diskless     = "Diskless"
	connected    = "Connected"
	syncTarget   = "SyncTarget"
)

// pairLook looks at a pool's pair. The pool must have two slots.
func (r *Registry) pairLook(tx Tx, p Pool) pairLook {
	now := r.now()
	l := pairLook{Spec: *p.Pair, Pair: pairOf(tx, p.Name), Now: now, Began: r.pairs.listen(now), Service: r.pairs.service(p.Name)}
	i := 0
	for s := range tx.SlotsOf(p.Name) {
		if i > 1 {
			break
		}
		l.Sides[i] = r.pairSide(tx, s, l.Pair)
		i++
	}
	return l
}

func (r *Registry) pairSide(tx Tx, s Slot, p Pair) pairSide {
	side := pairSide{Slot: s.Name}
	n, ok := tx.Nodes().Get(s.Node)
	if !ok {
		return side
	}
	m := r.pairs.half(s.Name, n.MAC)
	side.Node, side.State = n.MAC, n.State
	if at, fenced := p.Fenced[s.Name]; fenced && !m.began.After(at) {
		return side // what was on its way when it was switched off counts no more
	}
	side.Half, side.Heard, side.Ready, side.Active, side.Verified = m.half, m.at, m.ready, m.active, m.verified
	return side
}
