package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-memdb"

	"muster/roles"
)

// batch is a group of Updates that share one memdb transaction and one durable commit, because an fsync
// costs a hundred times what a closure does.
//
// The first Update leads: it opens the batch, runs its closure, and stands in line again. Everybody who
// stood in line before it runs a closure meanwhile, each in its own goroutine and on top of the ones
// before, and then waits. When the leader's turn comes, it commits for all. Alone, it does not wait.
type batch struct {
	txn     *memdb.Txn
	records []Record
	place   map[string]int // index in records by bucket and key
	// appended counts the events.
	appended int
	done     chan struct{} // closed when err is final
	err      error
}

// Update implements roles.Store. A fn that fails, panics or ends its goroutine leaves nothing behind. ctx
// ends the wait for a turn; once fn has run, the outcome is waited for. fn must not call Update.
func (s *Store) Update(ctx context.Context, fn func(roles.Tx) error) error {
	if err := s.turn.acquire(ctx); err != nil {
		return fmt.Errorf("state: update was not begun: %w", err)
	}
	b, leads, err := s.join(fn)
	if err != nil {
		return err
	}
	if leads {
		s.lead(b)
	}
	<-b.done
	return b.err
}

// join runs fn in the open batch, or in a new one, which the caller then has to lead. The caller has the
// turn; join ends it.
func (s *Store) join(fn func(roles.Tx) error) (b *batch, leads bool, err error) {
	defer s.turn.release()
	leads = s.open == nil
	if leads {
		s.open = &batch{txn: s.db.Txn(true), place: make(map[string]int), done: make(chan struct{})}
	}
	b = s.open
	joined := false
	defer func() {
		if leads && !joined { // nobody else is in the batch yet
			b.txn.Abort()
			s.open = nil
		}
	}()
	s.metrics.updates.Inc()
	err = b.run(fn)
	joined = err == nil
	return b, leads, err
}

// lead waits until those who stood in line have joined, and commits b.
func (s *Store) lead(b *batch) {
	s.turn.wait()
	defer s.turn.release()
	s.open = nil
	s.commit.wait()
	defer s.commit.release()
	defer close(b.done)
	defer b.txn.Abort() // does nothing after a commit
	if len(b.records) == 0 {
		return
	}
	b.err = errPanicked // for those who wait, should write panic
	if b.err = s.write("rack", b.records); b.err == nil {
		s.publish(b.txn)
		s.metrics.events.Add(float64(b.appended))
	}
}

// run runs fn on the batch. Unless it returns nil, what it did is undone.
func (b *batch) run(fn func(roles.Tx) error) error {
	w := new(writes)
	t := &tx{txn: b.txn, writes: w}
	kept := false
	defer func() {
		t.ended = true
		if !kept {
			w.undo(b.txn)
		}
	}()
	if err := fn(t); err != nil {
		return err
	}
	if err := t.checkSlots(); err != nil {
		return err
	}
	kept = true
	b.appended += w.appended
	for _, r := range w.records {
		b.add(r)
	}
	return nil
}

var errPanicked = errors.New("state: the commit panicked in another Update")

// add takes a record into the batch; the last one of a key wins.
func (b *batch) add(r Record) {
	at := r.Bucket + "\x00" + string(r.Key)
	if i, ok := b.place[at]; ok {
		b.records[i] = r
		return
	}
	b.place[at] = len(b.records)
	b.records = append(b.records, r)
}
