package state

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"

	"github.com/hashicorp/go-memdb"
)

// kind says how the values of one table are keyed, indexed and stored. Rows are *V.
type kind[K comparable, V any] struct {
	name    string // of the table and of the bucket
	key     func(*V) K
	id      func(K) []byte
	indexes map[string]func(*V) ([]byte, bool)
	// encode and decode are the stored form; nil means JSON.
	encode func(V) ([]byte, error)
	decode func([]byte) (V, error)
}

func (k *kind[K, V]) bucket() string { return k.name }

func (k *kind[K, V]) schema() *memdb.TableSchema {
	return tableSchema(k.name, func(v *V) []byte { return k.id(k.key(v)) }, k.indexes)
}

func (k *kind[K, V]) load(txn *memdb.Txn, r Record) error {
	v, err := k.unmarshal(r.Value)
	if err != nil {
		return err
	}
	if string(k.id(k.key(&v))) != string(r.Key) {
		return fmt.Errorf("the value is %v's", k.key(&v))
	}
	insert(txn, k.name, &v)
	return nil
}

func (k *kind[K, V]) marshal(v V) ([]byte, error) {
	if k.encode != nil {
		return k.encode(v)
	}
	return json.Marshal(v)
}

func (k *kind[K, V]) unmarshal(b []byte) (v V, err error) {
	if k.decode != nil {
		return k.decode(b)
	}
	err = json.Unmarshal(b, &v)
	return v, err
}

// table is roles.Table for most kinds; the others embed it.
type table[K comparable, V any] struct {
	tx   *tx
	kind *kind[K, V]
}

// Get implements roles.Table.
func (t table[K, V]) Get(k K) (v V, ok bool) {
	row, ok := first(t.tx.txn, t.kind.name, "id", t.kind.id(k)).(*V)
	if !ok {
		return v, false
	}
	return *row, true
}

// All implements roles.Table.
func (t table[K, V]) All() iter.Seq[V] {
	return values(rows[*V](t.tx.txn, t.kind.name, "id", nil))
}

// maxKey is the longest key, well below what the backends can take (bbolt 32 KiB).
const maxKey = 255

// Put implements roles.Table. What becomes visible is the value as it was stored and read back: it shares
// nothing with v, and a value that could not be read at the next start is refused now.
func (t table[K, V]) Put(v V) error {
	if err := t.tx.check(); err != nil {
		return err
	}
	var zero K
	k := t.kind.key(&v)
	id := t.kind.id(k)
	if k == zero || len(id) > maxKey {
		return &fault{fmt.Sprintf("state: a value of %s needs a key of 1 to %d bytes, not %q", t.kind.name, maxKey, id), fs.ErrInvalid}
	}
	b, err := t.kind.marshal(v)
	if err != nil {
		return fmt.Errorf("state: store %s %v: %w", t.kind.name, k, err)
	}
	stored, err := t.kind.unmarshal(b)
	if err != nil {
		return fmt.Errorf("state: store %s %v: %w", t.kind.name, k, err)
	}
	t.tx.put(t.kind.name, id, &stored, b)
	return nil
}

// Delete implements roles.Table.
func (t table[K, V]) Delete(k K) error {
	if err := t.tx.check(); err != nil {
		return err
	}
	t.tx.remove(t.kind.name, t.kind.id(k))
	return nil
}

func values[V any](rows iter.Seq[*V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for row := range rows {
			if !yield(*row) {
				return
			}
		}
	}
}
