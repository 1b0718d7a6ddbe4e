package state

import (
	"errors"
	"fmt"
	"iter"

	"github.com/hashicorp/go-memdb"

	"muster/roles"
)

// tx is roles.Tx over one memdb transaction.
type tx struct {
	txn *memdb.Txn
	// writes is nil in a View.
	writes *writes
	// ended says that the closure has returned.
	ended bool
}

// writes is what one closure did.
type writes struct {
	records []Record
	undos   []undo
	slots   map[string]bool // the names of the slots that were put
	// appended counts the events.
	appended int
}

// undo is one change of memdb; a nil row is an absent one.
type undo struct {
	table    string
	old, new any
}

var (
	errReadOnly = errors.New("state: a View cannot write: use Update")
	errEnded    = errors.New("state: the transaction has ended: use it only in its closure")
)

// Revision implements roles.Tx.
func (t *tx) Revision() uint64 { return t.count(revisionCounter) }

// check reports whether the transaction may write.
func (t *tx) check() error {
	switch {
	case t.writes == nil:
		return errReadOnly
	case t.ended:
		return errEnded
	}
	return nil
}

// replace puts row new in the place of old; either may be nil. Only memory changes: see put and remove.
func (t *tx) replace(table string, old, new any) {
	switch {
	case new != nil:
		insert(t.txn, table, new)
	case old != nil:
		remove(t.txn, table, old)
	default:
		return
	}
	t.writes.undos = append(t.writes.undos, undo{table, old, new})
}

// put replaces the row of a key, in memory and durably.
func (t *tx) put(table string, key []byte, row any, value []byte) {
	t.replace(table, first(t.txn, table, "id", key), row)
	t.writes.records = append(t.writes.records, Record{table, key, value})
}

// remove deletes the row of a key, in memory and durably.
func (t *tx) remove(table string, key []byte) {
	old := first(t.txn, table, "id", key)
	if old == nil {
		return
	}
	t.replace(table, old, nil)
	t.writes.records = append(t.writes.records, Record{table, key, nil})
}

func (w *writes) undo(txn *memdb.Txn) {
	for i := len(w.undos) - 1; i >= 0; i-- {
		switch u := w.undos[i]; {
		case u.old != nil:
			insert(txn, u.table, u.old)
		default:
			remove(txn, u.table, u.new)
		}
	}
}

// The functions below panic where memdb fails: it does so only for a table or index that is not in the
// schema, which is a mistake in this package.

func insert(txn *memdb.Txn, table string, row any) {
	if err := txn.Insert(table, row); err != nil {
		panic(fmt.Sprintf("state: insert into %s: %v", table, err))
	}
}

func remove(txn *memdb.Txn, table string, row any) {
	if err := txn.Delete(table, row); err != nil {
		panic(fmt.Sprintf("state: delete from %s: %v", table, err))
	}
}

// first gives the first row whose place in the index begins with value, nil for none.
func first(txn *memdb.Txn, table, index string, value []byte) any {
	row, err := txn.First(table, index, value)
	if err != nil {
		panic(fmt.Sprintf("state: read %s: %v", table, err))
	}
	return row
}

// rows gives the rows whose place in the index begins with value; all of them where it is nil. It goes on
// over what was there when it began, whatever the loop's body writes.
func rows[R any](txn *memdb.Txn, table, index string, value []byte) iter.Seq[R] {
	return func(yield func(R) bool) {
		var args []any
		if value != nil {
			args = []any{value}
		}
		it, err := txn.Get(table, index, args...)
		if err != nil {
			panic(fmt.Sprintf("state: read %s: %v", table, err))
		}
		walk(it, yield)
	}
}

// rowsFrom gives the rows from a key on, in the order of keys.
func rowsFrom[R any](txn *memdb.Txn, table string, key []byte) iter.Seq[R] {
	return func(yield func(R) bool) {
		it, err := txn.LowerBound(table, "id", key)
		if err != nil {
			panic(fmt.Sprintf("state: read %s: %v", table, err))
		}
		walk(it, yield)
	}
}

func walk[R any](it memdb.ResultIterator, yield func(R) bool) {
	for row := it.Next(); row != nil; row = it.Next() {
		if !yield(row.(R)) {
			return
		}
	}
}

var _ roles.Tx = (*tx)(nil)
