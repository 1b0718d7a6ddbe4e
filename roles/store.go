package roles

import (
	"context"
	"iter"
)

// Store keeps the rack. Implementations are in roles/state; the contract is tested there by one suite.
//
// Values go in and come out: what a Table returns may be kept, and changing it changes nothing in the
// store. (Slices, maps and pointers inside a value are shared: replace them, never write into them.)
type Store interface {
	// View calls fn with one consistent revision. It never blocks on a writer.
	View(fn func(Tx) error) error
	// Update calls fn with a transaction that sees its own writes. When fn returns nil the
	// transaction is made durable, then visible, then Update returns; otherwise nothing changed and
	// Update returns fn's error. Updates are serialized; fn may be called again by a backend that
	// lost a race, so it must have no effects outside of the transaction.
	// The error wraps fs.ErrExist where a unique value (slot address, slot occupant) is taken.
	Update(ctx context.Context, fn func(Tx) error) error
	// Watch returns a channel that is closed when the store's revision is above rev.
	Watch(rev uint64) <-chan struct{}
}

// Tx is one transaction. Its tables are ordered by key.
type Tx interface {
	// Revision is that of the last commit that this transaction sees; it rises by one per commit.
	Revision() uint64
	Roles() Table[string, Role]
	Pools() Table[string, Pool]
	Slots() Table[string, Slot]
	Nodes() Table[MAC, Node]
	Boots() Table[uint64, Boot]
	Secrets() Table[string, Secret]
	Rollouts() Table[string, Rollout]
	Pairs() Table[string, Pair]

	// SlotsOf gives a pool's slots by number.
	SlotsOf(pool string) iter.Seq[Slot]
	// BootsOf gives a node's boots, newest first. Only the latest BootsKept are kept, and the one
	// that runs: the latest whose kernel spoke.
	BootsOf(node MAC) iter.Seq[Boot]
	// Append adds an event to the log and, when ev.Boot is not 0, to that boot's timeline; it gives
	// the event its Seq and returns it. Only the latest EventsKept of the log are kept.
	Append(ev Event) (Event, error)
	// Events gives the log's events with Seq > after, oldest first.
	Events(after uint64) iter.Seq[Event]
	// NextBoot returns a boot number that was never used.
	NextBoot() (uint64, error)
}

// Bounds of what a store keeps.
const (
	// BootsKept is the number of boots kept for a node: enough to compare tonight's with last week's.
	BootsKept = 10
	// BootEventsKept bounds one boot's timeline: a boot has some 20 steps; a machine that retries all
	// night must not fill the store.
	BootEventsKept = 200
	// EventsKept bounds the log: a rack of 500 machines restarted four times.
	EventsKept = 50_000
)

// Table is one kind of thing, by its key.
type Table[K comparable, V any] interface {
	// Get returns the value of k and whether there is one.
	Get(k K) (V, bool)
	// All gives every value in key order.
	All() iter.Seq[V]
	// Put inserts or replaces. In a View it returns an error.
	Put(v V) error
	// Delete removes k; it is no error when there is none. In a View it returns an error.
	Delete(k K) error
}
