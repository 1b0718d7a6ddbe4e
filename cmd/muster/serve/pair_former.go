package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"muster/roles"
)

// formerUsers remembers which pools' nodes may still have mounted from a storage pair though their pool does not use
// it any more: until a node restarts it runs from where it booted.
type formerUsers struct {
	// file keeps it, as a restart of this server is none of the nodes'.
	file string

	mu sync.Mutex
	// left is when each pool left, by pair and pool; zero for one that uses the pair. nil: not read yet. Guarded by
	// mu.
	left map[string]map[string]time.Time
}

// note takes those who use a pair now, and gives those who left, and when. What cannot be kept is an error: what
// nodes run from would go.
func (f *formerUsers) note(pair string, users map[string]bool, now time.Time) (left map[string]time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == nil {
		if f.left, err = f.read(); err != nil {
			return nil, err
		}
	}
	next := maps.Clone(f.left[pair])
	if next == nil {
		next = map[string]time.Time{}
	}
	for pool, at := range next {
		if at.IsZero() && !users[pool] {
			next[pool] = now
		}
	}
	for pool := range users {
		next[pool] = time.Time{}
	}
	if err := f.keep(pair, next); err != nil {
		return nil, err
	}
	left = map[string]time.Time{}
	for pool, at := range next {
		if !at.IsZero() {
			left[pool] = at
		}
	}
	return left, nil
}

// forget drops pools of which no node runs from the pair any more.
func (f *formerUsers) forget(pair string, pools []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := maps.Clone(f.left[pair])
	for _, pool := range pools {
		delete(next, pool)
	}
	return f.keep(pair, next)
}

// keep makes next durable, where it is anything new. The caller holds mu.
func (f *formerUsers) keep(pair string, next map[string]time.Time) error {
	if maps.EqualFunc(next, f.left[pair], time.Time.Equal) {
		return nil
	}
	all := maps.Clone(f.left)
	all[pair] = next
	b, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = replaceFile(f.file, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("users of storage pairs: %w", err)
	}
	f.left = all
	return nil
}

func (f *formerUsers) read() (map[string]map[string]time.Time, error) {
	all := map[string]map[string]time.Time{}
	b, err := os.ReadFile(f.file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("users of storage pairs: %w", err)
	}
	return all, nil
}

// replaceFile writes a file: whole or not at all, whenever the power goes.
func replaceFile(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // what failed
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// bootedBefore reports whether the node in s runs what it booted before at. A boot of which no agent spoke may be a
// packet that somebody else sent.
func bootedBefore(tx roles.Tx, s roles.Slot, at time.Time) bool {
	n, ok := tx.Nodes().Get(s.Node)
	if !ok || n.State == roles.StateOff {
		return false
	}
	for b := range tx.BootsOf(n.MAC) {
		if !b.Up.IsZero() { // its kernel spoke
			return b.Slot == s.Name && b.Started.Before(at)
		}
	}
	return false
}
