package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"muster/roles"
)

// pairUse is how a pool's nodes use a storage pair.
type pairUse struct {
	Pool string `json:"pool"`
	// Root says that their roots are there; Volumes and State are their role's.
	Root    bool                `json:"root,omitempty"`
	Volumes []roles.VolumeMount `json:"volumes,omitempty"`
	State   []string            `json:"state,omitempty"`
	// Left is when that ended; zero while the next node that boots uses it so.
	Left time.Time `json:"left,omitzero"`
}

// useOf is how the nodes of a pool with this role use their pair.
func useOf(pool string, role roles.Role) pairUse {
	return pairUse{Pool: pool, Root: role.Root != roles.RootRAM, Volumes: role.Volumes, State: role.State}
}

// like says whether two uses are the same, whenever they ended.
func (u pairUse) like(v pairUse) bool {
	return u.Pool == v.Pool && u.Root == v.Root && slices.Equal(u.Volumes, v.Volumes) && slices.Equal(u.State, v.State)
}

func (u pairUse) equal(v pairUse) bool { return u.like(v) && u.Left.Equal(v.Left) }

// role is what its nodes booted with, as far as they have it from the pair.
func (u pairUse) role() roles.Role {
	r := roles.Role{Root: roles.RootNFS, Volumes: u.Volumes, State: u.State}
	if !u.Root {
		r.Root = roles.RootRAM
	}
	return r
}

// formerUsers remembers what pools' nodes may still have mounted from a storage pair though their pool does not use
// it any more, or their role is another one: until a node restarts it runs from what it booted with.
type formerUsers struct {
	// file keeps it, as a restart of this server is none of the nodes'.
	file string

	mu sync.Mutex
	// uses are those of each pair, the former ones first. nil: not read yet. Guarded by mu.
	uses map[string][]pairUse
}

// note takes how a pair is used now, and gives what ended, and when. What cannot be kept is an error: what nodes run
// from would go.
func (f *formerUsers) note(pair string, used []pairUse, now time.Time) (former []pairUse, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.uses == nil {
		if f.uses, err = f.read(); err != nil {
			return nil, err
		}
	}
	for _, u := range f.uses[pair] {
		if slices.ContainsFunc(used, u.like) {
			continue
		}
		if u.Left.IsZero() {
			u.Left = now
		}
		former = append(former, u)
	}
	return former, f.keep(pair, slices.Concat(former, used))
}

// forget drops former uses that no node has any more.
func (f *formerUsers) forget(pair string, gone []pairUse) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keep(pair, slices.DeleteFunc(slices.Clone(f.uses[pair]), func(u pairUse) bool { return slices.ContainsFunc(gone, u.equal) }))
}

// keep makes next durable, where it is anything new. The caller holds mu.
func (f *formerUsers) keep(pair string, next []pairUse) error {
	if slices.EqualFunc(next, f.uses[pair], pairUse.equal) {
		return nil
	}
	all := maps.Clone(f.uses)
	all[pair] = next
	b, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = replaceFile(f.file, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("users of storage pairs: %w", err)
	}
	f.uses = all
	return nil
}

func (f *formerUsers) read() (map[string][]pairUse, error) {
	all := map[string][]pairUse{}
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

// pairRun is what a node runs that mounts from a pair.
type pairRun struct {
	image   string
	started time.Time
}

// runsFrom gives what nodes that are on run from a pair, by the slot for which they booted: one that was released, or
// replaced, has its root there still. A boot of which no agent spoke may be a packet that somebody else sent.
func runsFrom(tx roles.Tx, pair string) map[string][]pairRun {
	out := map[string][]pairRun{}
	for n := range tx.Nodes().All() {
		if n.Storage != pair || n.State == roles.StateOff {
			continue
		}
		for b := range tx.BootsOf(n.MAC) {
			if !b.Up.IsZero() { // its kernel spoke
				out[b.Slot] = append(out[b.Slot], pairRun{b.Image, b.Started})
				break
			}
		}
	}
	return out
}

// bootedBefore reports whether somebody runs what was booted before at.
func bootedBefore(runs []pairRun, at time.Time) bool {
	return slices.ContainsFunc(runs, func(r pairRun) bool { return r.started.Before(at) })
}
