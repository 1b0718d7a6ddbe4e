package state

import (
	"encoding/json"
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"

	"muster/roles"
)

// firstEvents is how many events from a boot's beginning its timeline keeps whatever follows: a whole
// boot has some 20. What a long timeline loses is its middle: the first events tell what went wrong, the
// last ones where it stands, those between say the same over and over.
const firstEvents = 50

// eventRow is one event and the places where it is listed. An event is stored once, by its Seq. It is in
// the log as long as it is among the last roles.EventsKept; it is deleted when it is in neither.
type eventRow struct {
	roles.Event
	// listed says that it is in its boot's timeline. It is not stored: which events of a boot are listed
	// follows from their order.
	listed bool
}

var eventKind = &kind[uint64, eventRow]{
	name: "events",
	key:  func(e *eventRow) uint64 { return e.Seq },
	id:   key64,
	indexes: map[string]func(*eventRow) ([]byte, bool){
		"boot": func(e *eventRow) ([]byte, bool) { return key64(e.Boot), e.listed },
	},
	encode: func(e eventRow) ([]byte, error) { return json.Marshal(e.Event) },
	decode: func(b []byte) (e eventRow, err error) {
		err = json.Unmarshal(b, &e.Event)
		e.listed = e.Boot != 0
		return e, err
	},
}

// Append implements roles.Tx. The cost does not depend on how many events there are.
func (t *tx) Append(ev roles.Event) (roles.Event, error) {
	if err := t.check(); err != nil {
		return ev, err
	}
	seq, err := t.next(eventCounter)
	if err != nil {
		return ev, err
	}
	ev.Seq = seq
	ev.Time = ev.Time.Round(0) // without the monotonic clock, as it is read back
	if err := (table[uint64, eventRow]{t, eventKind}).Put(eventRow{Event: ev}); err != nil {
		return ev, err
	}
	t.writes.appended++
	if ev.Boot != 0 {
		t.boundTimeline(ev.Boot)
	}
	if seq > roles.EventsKept {
		t.leaveLog(seq - roles.EventsKept)
	}
	return ev, nil
}

// Events implements roles.Tx.
func (t *tx) Events(after uint64) iter.Seq[roles.Event] {
	from := max(after, t.logEnd()) + 1
	if from == 0 { // after is the largest number
		return func(func(roles.Event) bool) {}
	}
	return events(rowsFrom[*eventRow](t.txn, eventKind.name, key64(from)))
}

// logEnd is the Seq of the last event that is no longer in the log.
func (t *tx) logEnd() uint64 {
	last := t.count(eventCounter)
	return last - min(last, roles.EventsKept)
}

func (t *tx) timeline(boot uint64) []roles.Event {
	return slices.Collect(events(t.listed(boot)))
}

func (t *tx) listed(boot uint64) iter.Seq[*eventRow] {
	return rows[*eventRow](t.txn, eventKind.name, "boot", key64(boot))
}

// boundTimeline takes an event from the middle of a timeline that has become too long by one.
func (t *tx) boundTimeline(boot uint64) {
	n := 0
	var middle *eventRow
	for e := range t.listed(boot) {
		if n == firstEvents {
			middle = e
		}
		n++
	}
	if n > roles.BootEventsKept {
		t.unlist(middle)
	}
}

// dropTimeline takes the events of a boot that is gone.
func (t *tx) dropTimeline(boot uint64) {
	for e := range t.listed(boot) {
		t.unlist(e)
	}
}

// unlist takes an event out of its boot's timeline, and deletes it where the log does not have it either.
func (t *tx) unlist(e *eventRow) {
	if e.Seq <= t.logEnd() {
		t.remove(eventKind.name, key64(e.Seq))
		return
	}
	t.replace(eventKind.name, e, &eventRow{Event: e.Event})
}

// leaveLog deletes the event that has just become too old for the log, unless a boot's timeline has it.
func (t *tx) leaveLog(seq uint64) {
	e, ok := first(t.txn, eventKind.name, "id", key64(seq)).(*eventRow)
	if !ok {
		return
	}
	if e.listed && first(t.txn, bootKind.name, "id", key64(e.Boot)) != nil {
		return
	}
	t.remove(eventKind.name, key64(seq))
}

// boundTimelines finds, after loading, which events their boots do not list.
func boundTimelines(txn *memdb.Txn) {
	timelines := make(map[uint64][]*eventRow)
	for e := range rows[*eventRow](txn, eventKind.name, "id", nil) {
		if e.listed {
			timelines[e.Boot] = append(timelines[e.Boot], e)
		}
	}
	for _, line := range timelines {
		if tooMany := len(line) - roles.BootEventsKept; tooMany > 0 {
			for _, e := range line[firstEvents : firstEvents+tooMany] {
				insert(txn, eventKind.name, &eventRow{Event: e.Event})
			}
		}
	}
}

func events(rows iter.Seq[*eventRow]) iter.Seq[roles.Event] {
	return func(yield func(roles.Event) bool) {
		for row := range rows {
			if !yield(row.Event) {
				return
			}
		}
	}
}
