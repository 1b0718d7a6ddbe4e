package state

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/go-memdb"
)

// index is a memdb index over rows of type R. Its values are made here, without reflection: they are
// either of one length or end in a zero byte, so that no value is the beginning of another.
type index[R any] struct {
	// value gives a row's place in the index; ok is false for a row that is not in it.
	value func(R) (v []byte, ok bool)
}

// FromObject implements memdb.SingleIndexer.
func (x index[R]) FromObject(row any) (bool, []byte, error) {
	v, ok := x.value(row.(R))
	return ok, v, nil
}

// FromArgs implements memdb.Indexer.
func (x index[R]) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if v, ok := args[0].([]byte); ok {
			return v, nil
		}
	}
	return nil, fmt.Errorf("state: index wants one []byte, not %v", args)
}

// tableSchema builds the schema of a table from its key and its other indexes. None of those is unique
// for memdb, which checks it only for the key: see Store.
func tableSchema[R any](name string, id func(R) []byte, others map[string]func(R) ([]byte, bool)) *memdb.TableSchema {
	key := index[R]{func(row R) ([]byte, bool) { return id(row), true }}
	t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
		"id": {Name: "id", Unique: true, Indexer: key},
	}}
	for n, value := range others {
		t.Indexes[n] = &memdb.IndexSchema{Name: n, AllowMissing: true, Indexer: index[R]{value}}
	}
	return t
}

// kinds are all tables. Boots come before events, which are kept or not by their boot.
func kinds() []loader {
	return []loader{counterKind, roleKind, poolKind, slotKind, nodeKind, bootKind, eventKind, secretKind, rolloutKind, pairKind}
}

// loader is what opening a store needs of a table.
type loader interface {
	bucket() string
	schema() *memdb.TableSchema
	// load decodes a stored value and inserts its row.
	load(txn *memdb.Txn, r Record) error
}

func newDB() (*memdb.MemDB, error) {
	s := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema)}
	for _, k := range kinds() {
		s.Tables[k.bucket()] = k.schema()
	}
	return memdb.NewMemDB(s)
}

// key64 and keyText are the forms of numbers and names in keys: their order is the order of values.
func key64(n uint64) []byte        { return binary.BigEndian.AppendUint64(nil, n) }
func keyText(s string) []byte      { return []byte(s) }
func keyOf[A ~[6]byte](m A) []byte { return append([]byte(nil), m[:]...) }
