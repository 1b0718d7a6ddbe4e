package state

import (
	"fmt"
	"log/slog"
	"strconv"
)

// step brings records of one version to the next: it returns what to change in the snapshot.
type step func(snapshot) ([]Record, error)

// steps are the migrations: steps[0] brings version 1 to version 2, and so on. The current version is
// the one that the last step leads to. A step, once released, is never changed.
var steps = []step{}

// Where the version of the records is stored.
const (
	metaBucket = "meta"
	versionKey = "version"
)

// snapshot is everything that a backend holds.
type snapshot struct {
	revision uint64
	buckets  map[string][]Record
}

func readAll(b Backend) (s snapshot, err error) {
	s.buckets = make(map[string][]Record)
	s.revision, err = b.Load(func(r Record) error {
		s.buckets[r.Bucket] = append(s.buckets[r.Bucket], r)
		return nil
	})
	return s, err
}

// version is that of the snapshot, 0 for an empty one.
func (s snapshot) version() (int, error) {
	for _, r := range s.buckets[metaBucket] {
		if string(r.Key) == versionKey {
			if v, err := strconv.Atoi(string(r.Value)); err == nil && v > 0 {
				return v, nil
			}
		}
	}
	if len(s.buckets) > 0 {
		return 0, fmt.Errorf("state: the stored data is not Muster's: it has no version; choose another place")
	}
	return 0, nil
}

// migrate brings what the backend holds to the current version, one step and one commit at a time, and
// reads it.
func migrate(b Backend, steps []step, log *slog.Logger) (snapshot, error) {
	current := len(steps) + 1
	for {
		s, err := readAll(b)
		if err != nil {
			return s, err
		}
		v, err := s.version()
		switch {
		case err != nil || v == current:
			return s, err
		case v > current:
			return s, fmt.Errorf("state: the stored data has version %d, this muster knows versions up to %d: "+
				"use the newer muster that wrote it, or restore a backup of before", v, current)
		}
		var changes []Record
		next := current // an empty backend begins with the current version
		if v > 0 {
			next = v + 1
			log.Info("migrate state", "from", v, "to", next)
			if changes, err = steps[v-1](s); err != nil {
				return s, fmt.Errorf("state: migrate from version %d to %d: %w", v, next, err)
			}
		}
		changes = append(changes, Record{metaBucket, []byte(versionKey), []byte(strconv.Itoa(next))})
		if err := b.Commit(s.revision+1, changes); err != nil {
			return s, fmt.Errorf("state: write version %d: %w", next, err)
		}
	}
}
