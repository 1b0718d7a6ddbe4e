package state

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
)

// TestBackendRevision: a backend takes the next revision and no other, and keeps nothing of what it
// refuses.
func TestBackendRevision(t *testing.T) {
	file, err := openFile(filepath.Join(t.TempDir(), "state.db"), segmentSize, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, b := range []Backend{file, new(Memory)} {
		commit := func(rev uint64, key string) error {
			return b.Commit(rev, []Record{{"b", []byte(key), []byte("v")}, {"none", []byte("k"), nil}})
		}
		if err := commit(1, "one"); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []uint64{0, 1, 3} {
			if err := commit(wrong, "wrong"); !errors.Is(err, errForeign) {
				t.Errorf("%T: revision %d after 1: got %v, want errForeign", b, wrong, err)
			}
		}
		if err := commit(2, "two"); err != nil {
			t.Fatal(err)
		}
		var keys []string
		rev, err := b.Load(func(r Record) error { keys = append(keys, string(r.Key)); return nil })
		if rev != 2 || err != nil || !slices.Equal(keys, []string{"one", "two"}) {
			t.Errorf("%T: revision %d, keys %q, %v; want 2, one and two", b, rev, keys, err)
		}
	}
}
