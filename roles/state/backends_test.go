package state_test

import (
	"path/filepath"
	"testing"

	"muster/roles/state"
	"muster/roles/state/statetest"
)

func TestFile(t *testing.T) {
	statetest.Run(t, func(t *testing.T) func() *state.Store {
		path := filepath.Join(t.TempDir(), "state.db")
		return func() *state.Store { return open(t, path) }
	})
}

// TestFileKilled is TestFile with stores that never end well.
func TestFileKilled(t *testing.T) {
	statetest.Run(t, func(t *testing.T) func() *state.Store {
		path := filepath.Join(t.TempDir(), "state.db")
		return func() *state.Store {
			s, err := state.OpenKilled(path)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestMemory(t *testing.T) {
	statetest.Run(t, func(t *testing.T) func() *state.Store {
		var m state.Memory
		return func() *state.Store {
			s, err := state.New(&m, state.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}
