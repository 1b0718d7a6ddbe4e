package state

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/hashicorp/go-memdb"
	"github.com/prometheus/client_golang/prometheus"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
	"muster/roles"
)

// Options are what Open and New may be told; the zero value works.
type Options struct {
	// Metrics registers the store's metrics; nil means none.
	Metrics prometheus.Registerer
	// Log gets one line for every migration and for every commit that failed; nil is silent.
	Log *slog.Logger
}

// Store is roles.Store over a Backend, and the home of the DHCP leases.
//
// Beside the keys it keeps unique: a slot's address, its occupant, and its number within the pool. They
// are checked when an Update's closure returns, so that a closure may swap two of them in any order; the
// error wraps fs.ErrExist and says who has the value.
//
// One sequence of revisions counts the commits of the rack and of the leases. Tx.Revision and Watch speak
// of the rack: a lease commit takes a number, but wakes nobody.
type Store struct {
	backend Backend
	db      *memdb.MemDB
	leases  lease.Table
	leases6 lease6.Table
	changed signal
	metrics *metrics
	log     *slog.Logger

	turn lock   // one closure at a time; guards open
	open *batch // the batch that the next Update joins; nil for none

	commit   lock   // one backend commit at a time; taken after turn; guards all below
	revision uint64 // of the last commit
	closed   bool
}

var _ roles.Store = (*Store)(nil)

// Open opens the store in the file at path and creates it when there is none. The file is locked: another
// process that opens it gets an error. A file of an older version is migrated, one of a newer is refused.
func Open(path string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f, err := openFile(path, segmentSize, o.Log)
	if err != nil {
		return nil, err
	}
	return New(f, o)
}

// New opens a store over any backend. The store closes it, also when New fails.
func New(b Backend, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{backend: b, metrics: newMetrics(o.Metrics), log: o.Log, turn: newLock(), commit: newLock()}
	if err := s.load(); err != nil {
		b.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) load() error {
	snap, err := migrate(s.backend, steps, s.log)
	if err != nil {
		return err
	}
	if s.db, err = newDB(); err != nil {
		return err
	}
	txn := s.db.Txn(true)
	defer txn.Abort()
	for _, k := range kinds() {
		for _, r := range snap.buckets[k.bucket()] {
			if err := k.load(txn, r); err != nil {
				return fmt.Errorf("state: stored %s %q: %w", k.bucket(), r.Key, err)
			}
		}
	}
	boundTimelines(txn)
	if err := s.loadLeases(snap.buckets[leaseBucket]); err != nil {
		return err
	}
	if err := s.loadLeases6(snap.buckets[lease6Bucket]); err != nil {
		return err
	}
	s.revision = snap.revision
	s.publish(txn)
	return nil
}

// publish makes txn visible as the current revision.
func (s *Store) publish(txn *memdb.Txn) {
	insert(txn, counterKind.name, &counter{Name: revisionCounter, N: s.revision})
	txn.Commit()
	s.changed.raise(s.revision)
	s.metrics.revision.Set(float64(s.revision))
}

// View implements roles.Store.
func (s *Store) View(fn func(roles.Tx) error) error {
	return fn(&tx{txn: s.db.Txn(false)})
}

// Watch implements roles.Store. It watches the rack; lease commits close no channel.
func (s *Store) Watch(rev uint64) <-chan struct{} { return s.changed.above(rev) }

// write commits records at the next revision. The caller holds s.commit.
func (s *Store) write(what string, records []Record) error {
	if s.closed {
		return errClosed
	}
	done := s.metrics.commit(what)
	err := s.backend.Commit(s.revision+1, records)
	done(err)
	if err != nil {
		s.log.Error("commit failed", "what", what, "records", len(records), "err", err)
		return fmt.Errorf("state: nothing was changed, because it could not be made durable: %w", err)
	}
	s.revision++
	return nil
}

// Close waits for the commit that is under way and closes the backend. Reading goes on to work; Update and
// CommitLeases return an error that wraps fs.ErrClosed.
func (s *Store) Close() error {
	s.turn.wait()
	defer s.turn.release()
	s.commit.wait()
	defer s.commit.release()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.backend.Close()
}

var errClosed = &fault{"state: the store is closed", fs.ErrClosed}

// lock is a mutex that a context can stop waiting for. It is given to the waiting in their order, which
// sync.Mutex does not promise; batches grow by that.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) wait()    { l <- struct{}{} }
func (l lock) release() { <-l }
