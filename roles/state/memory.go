package state

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Memory is a Backend that forgets everything with the process: for tests, and for looking at a rack that
// nobody needs tomorrow. Close keeps the records: a second New over the same Memory finds them.
type Memory struct {
	mu       sync.Mutex // guards all below
	revision uint64
	buckets  map[string]map[string][]byte
}

// OpenMemory opens an empty store that lives in memory.
func OpenMemory() *Store {
	s, err := New(new(Memory), Options{})
	if err != nil {
		panic(err) // an empty Memory has nothing that could be wrong
	}
	return s
}

// Load implements Backend.
func (m *Memory) Load(fn func(Record) error) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, bucket := range slices.Sorted(maps.Keys(m.buckets)) {
		for _, key := range slices.Sorted(maps.Keys(m.buckets[bucket])) {
			if err := fn(Record{bucket, []byte(key), m.buckets[bucket][key]}); err != nil {
				return 0, err
			}
		}
	}
	return m.revision, nil
}

// Commit implements Backend.
func (m *Memory) Commit(revision uint64, batch []Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision != m.revision+1 {
		return fmt.Errorf("%w: it is at revision %d, not %d", errForeign, m.revision, revision-1)
	}
	m.revision = revision
	if m.buckets == nil {
		m.buckets = make(map[string]map[string][]byte)
	}
	for _, r := range batch {
		if r.Value == nil {
			delete(m.buckets[r.Bucket], string(r.Key))
			continue
		}
		if m.buckets[r.Bucket] == nil {
			m.buckets[r.Bucket] = make(map[string][]byte)
		}
		m.buckets[r.Bucket][string(r.Key)] = bytes.Clone(r.Value)
	}
	return nil
}

// Close implements Backend.
func (m *Memory) Close() error { return nil }
