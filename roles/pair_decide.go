package roles

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Bounds of the start of a pair.
const (
	// peerWait is how long a half that is ready waits for one that is not heard: Pacemaker shoots who is late.
	peerWait = 60 * time.Second
	// peerBoots is peerWait while the other machine boots.
	peerBoots = 120 * time.Second
	// peerDisk is peerWait for one that is heard, and is not ready.
	peerDisk = 180 * time.Second
	// settled is how long both must have been in sync before the mark that one is outdated goes: what they say
	// may have been on its way when the mark was made.
	settled = 10 * time.Second
	// verifyWait is how long an operator's wish for a verification stands.
	verifyWait = 24 * time.Hour
)

// pairEvent is something that happened to a half.
type pairEvent struct {
	Slot           string
	Step           Step
	Message, Error string
}

// pairPlan is what follows from a look: what is kept from now on, the orders of both halves, and what is worth
// telling of the difference.
type pairPlan struct {
	Pair   Pair
	Slots  [2]string
	Orders [2]PairOrders
	// Refused says for each half why its disk is not taken; empty where it is, or none was found.
	Refused [2]string
	Events  []pairEvent
}

// decidePair says how a pair goes on. It is pure: the same look gives the same plan, and a look at what the plan
// keeps changes nothing more.
func decidePair(l pairLook) (pairPlan, bool) {
	before := l.Pair
	l.Pair.Disks, l.Pair.Claims = maps.Clone(before.Disks), maps.Clone(before.Claims)
	l.Pair.Fenced = maps.Clone(before.Fenced)
	d := pairing{pairLook: l}
	for range 2 { // what is learnt of one disk counts for the other
		for i := range d.Sides {
			d.disks[i] = d.disk(i)
		}
	}
	d.returned()
	d.holds()
	d.activity()
	d.agree()
	d.verified()
	plan := pairPlan{Pair: d.Pair, Events: d.events}
	for i := range d.Sides {
		plan.Slots[i], plan.Orders[i], plan.Refused[i] = d.Sides[i].Slot, d.orders(i), d.disks[i].refused
	}
	return plan, !reflect.DeepEqual(before, d.Pair)
}

// pairing is a decision under way; its Pair is the one after it.
type pairing struct {
	pairLook
	disks  [2]diskVerdict
	events []pairEvent
}

func (d *pairing) tell(i int, format string, args ...any) {
	d.events = append(d.events, pairEvent{Slot: d.Sides[i].Slot, Step: StepStorage, Message: fmt.Sprintf(format, args...)})
}

// returned notes which halves that were switched off speak again, from a boot since then.
func (d *pairing) returned() {
	for i, s := range d.Sides {
		if at, fenced := d.Pair.Fenced[s.Slot]; fenced && d.fresh(i) && s.Heard.After(at) { // see Registry.pairSide
			delete(d.Pair.Fenced, s.Slot)
			d.tell(i, "is back")
		}
	}
	if len(d.Pair.Fenced) == 0 {
		d.Pair.Fenced = nil
	}
}

// holds notes which disks have held all data.
func (d *pairing) holds() {
	for i, s := range d.Sides {
		disk, h := d.Pair.Disks[s.Slot], s.Half
		if d.Pair.Made.IsZero() || disk.Whole || !d.knows(i) || h.DiskState != upToDate {
			continue
		}
		if h.Active || h.together() && h.PeerDisk == upToDate {
			disk.Whole = true
			d.Pair.Disks[s.Slot] = disk
		}
	}
}

// activity notes which half is active.
func (d *pairing) activity() {
	for i, s := range d.Sides {
		old := d.Pair.Active
		if !d.fresh(i) || !s.Half.Active || s.Slot == old {
			continue
		}
		if o := d.Sides[1-i]; d.fresh(1-i) && o.Half.Active && o.Slot == old {
			continue // it has yet to notice: see pairLook.alerts
		}
		d.Pair.Before, d.Pair.Active, d.Pair.At, d.Pair.Took = old, s.Slot, s.Active, 0
		if v := d.Service; v.slot == s.Slot && v.before == old && !v.until.IsZero() {
			d.Pair.Took = Duration(v.since.Sub(v.until).Round(100 * time.Millisecond))
		}
		switch {
		case old == "":
			d.tell(i, "%s serves at %s", s.Slot, d.Spec.Address)
		case d.Pair.Took > 0:
			d.tell(i, "%s took over from %s; nothing was served for %s", s.Slot, old, d.Pair.Took)
		default:
			d.tell(i, "%s took over from %s", s.Slot, old)
		}
	}
}

// agree takes back what is over when both have the same data, or an operator's decision was carried out.
func (d *pairing) agree() {
	p := &d.Pair
	if i := d.side(p.Promoted); i >= 0 && d.fresh(i) && d.Sides[i].Half.Active && !d.Sides[i].Heard.Before(p.PromotedAt) {
		d.tell(i, "%s serves, as an operator decided", p.Promoted)
		p.Promoted, p.PromotedAt = "", time.Time{}
	}
	if p.Outdated == "" && p.Keep == "" || !d.inSync() {
		return
	}
	for _, s := range d.Sides {
		if s.Heard.Sub(p.OutdatedFrom) <= settled {
			return
		}
	}
	if i := d.side(p.Outdated); i >= 0 {
		d.tell(i, "%s has all data again", p.Outdated)
	}
	p.Outdated, p.OutdatedBy, p.OutdatedFrom, p.Keep = "", "", time.Time{}, ""
	p.Promoted, p.PromotedAt = "", time.Time{}
}

// verified takes back the wish for a verification when it was done.
func (d *pairing) verified() {
	if d.Pair.Verify.IsZero() {
		return
	}
	for i, s := range d.Sides {
		if d.fresh(i) && s.Half.Verify != "" && (s.Verified.After(d.Pair.Verify) || verifiedAt(s.Half).After(d.Pair.Verify)) {
			d.tell(i, "both disks were compared: %s", s.Half.Verify)
			d.Pair.Verify = time.Time{}
			return
		}
	}
	if d.Now.Sub(d.Pair.Verify) > verifyWait {
		d.tell(0, "both disks were not compared within %s; ask again: muster storage verify %s", Duration(verifyWait), d.Pair.Pool)
		d.Pair.Verify = time.Time{}
	}
}

// verifiedAt is when a half says that it came to the outcome of its last verification, by its own clock.
func verifiedAt(h Half) time.Time {
	at, _, _ := strings.Cut(h.Verify, ": ")
	t, _ := time.Parse(time.RFC3339, at)
	return t
}

// orders are those of side i.
func (d *pairing) orders(i int) PairOrders {
	s, other, p := d.Sides[i], d.Sides[1-i].Slot, d.Pair
	v := d.disks[i]
	o := PairOrders{
		Rule: d.Spec.Disk, Known: p.Disks[s.Slot].Meta, Make: v.blank, Erase: v.erase, Wait: v.refused,
		Outdated: p.Outdated == s.Slot, Standby: slices.Contains(p.Standby, s.Slot),
		Discard: p.Keep == other && d.split(),
	}
	if p.Promoted == s.Slot {
		o.Promote = stamp(p.PromotedAt)
	}
	if runs, ok := d.serving(); !p.Verify.IsZero() && (ok && runs == i || !ok && i == 0) {
		o.Verify = stamp(p.Verify)
	}
	switch {
	case s.Half.Phase == PhaseCluster && d.fresh(i):
		o.Start = true // who runs is not stopped by what is not known yet
	case o.Wait != "":
	case p.Made.IsZero():
		o.Format, o.Wait = d.format(i)
	default:
		o.Start, o.Wait = d.start(i)
	}
	return o
}

// stamp is a time that is another one for each decision.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// format says whether side i makes the file system of the new pair, else what it waits for.
func (d *pairing) format(i int) (bool, string) {
	s, o := d.Sides[i], d.Sides[1-i]
	switch {
	case o.Node.IsZero() || o.Heard.IsZero():
		return false, fmt.Sprintf("waits for %s, which has not been seen; a new pair needs both machines", o.Slot)
	case !d.fresh(1 - i):
		return false, fmt.Sprintf("waits for %s, which has not been heard for %s; a new pair needs both machines", o.Slot, ago(d.Now, o.Heard))
	case !d.attached(i):
		return false, "its disk is prepared"
	case !d.attached(1 - i):
		return false, fmt.Sprintf("waits for %s: %s", o.Slot, d.unready(1-i))
	case s.Half.Connection != connected || o.Half.Connection != connected:
		return false, fmt.Sprintf("waits until it is connected to %s", o.Slot)
	case i != 0:
		return false, fmt.Sprintf("%s makes the file system of the new pair", o.Slot)
	}
	return true, ""
}

// unready says in words why side i is not ready.
func (d *pairing) unready(i int) string {
	switch h := d.Sides[i].Half; {
	case d.disks[i].refused != "":
		return d.disks[i].refused
	case h.Why != "":
		return h.Why
	case h.Serial == "":
		return "it looks for its disk"
	}
	return "its disk is prepared"
}

// start says whether Pacemaker may run on side i, whose pair is made, else what it waits for.
func (d *pairing) start(i int) (bool, string) {
	s, o := d.Sides[i], d.Sides[1-i]
	if !d.attached(i) {
		return false, ""
	}
	if d.attached(1-i) || o.State == StateOff {
		return true, ""
	}
	since, limit, what := s.Ready, peerWait, "has not been seen"
	switch {
	case d.fresh(1-i) && d.disks[1-i].refused == "" && o.Half.Phase != PhaseRefused:
		limit, what = peerDisk, "is not ready: "+d.unready(1-i)
	case d.fresh(1 - i):
		what = "has no disk: " + d.unready(1-i)
	default:
		if o.Heard.After(since) {
			since = o.Heard
		}
		if !o.Heard.IsZero() {
			what = fmt.Sprintf("has not been heard for %s", ago(d.Now, o.Heard))
		}
		if o.State == StateBooting {
			limit, what = peerBoots, "boots"
		}
	}
	left := limit - d.Now.Sub(since)
	if left <= 0 {
		return true, ""
	}
	return false, fmt.Sprintf("waits for %s, which %s; goes on alone in %s", o.Slot, what, Duration(left.Round(time.Second)))
}

// ago is how long ago something was, in words.
func ago(now, at time.Time) Duration { return Duration(now.Sub(at).Round(time.Second)) }
