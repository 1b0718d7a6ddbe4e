package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/images"
	"muster/roles"
	"muster/roles/state"
)

// rackOf is a server with a store in memory, and versions 1 to 4 of the image web, of which 4 is current.
func rackOf(t *testing.T) *server {
	t.Helper()
	s := &server{store: state.OpenMemory(), catalog: &images.Catalog{Dir: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	s.registry = &roles.Registry{Store: s.store, Images: s.catalog, Library: map[string]roles.Role{"web": {Name: "web", State: []string{"/srv"}}}}
	s.former.file = filepath.Join(t.TempDir(), "pairs.json")
	for v := 1; v <= 4; v++ {
		dir := filepath.Join(s.catalog.Dir, "web", fmt.Sprint(v))
		if err := os.MkdirAll(filepath.Join(dir, images.TreeDir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, images.ImageFile), fmt.Appendf(nil, `{"ref": "web:%d"}`, v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.catalog.SetCurrent(images.Ref{Name: "web", Version: 4}); err != nil {
		t.Fatal(err)
	}
	return s
}

// change puts things into the store.
func change(t *testing.T, s *server, fn func(tx roles.Tx) error) {
	t.Helper()
	if err := s.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// using are the versions that each user of the pair has on it.
func using(t *testing.T, s *server) map[string][]string {
	t.Helper()
	users, err := s.pairUsers("storage")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, u := range users {
		out[u.pool.Name] = []string{}
		for _, img := range u.images {
			out[u.pool.Name] = append(out[u.pool.Name], img.Ref.String())
		}
		slices.Sort(out[u.pool.Name][min(1, len(u.images)):])
	}
	return out
}

func TestPairUsers(t *testing.T) {
	s := rackOf(t)
	mac, err := roles.ParseMAC(webMAC)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	addresses := roles.AddressRange{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.20")}
	pool := func(storage string) func(tx roles.Tx) error {
		return func(tx roles.Tx) error {
			return tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Storage: storage, Addresses: addresses})
		}
	}
	boot := func(id uint64, image string, started time.Time, spoke bool) func(tx roles.Tx) error {
		return func(tx roles.Tx) error {
			b := roles.Boot{ID: id, Node: mac, Started: started, Image: image, Slot: "web-01"}
			if spoke {
				b.Up = started
			}
			return tx.Boots().Put(b)
		}
	}
	expect := func(what string, want map[string][]string) {
		t.Helper()
		if d := cmp.Diff(want, using(t, s)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}

	change(t, s, pool("storage"))
	change(t, s, func(tx roles.Tx) error {
		if err := tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addresses.First, Node: mac}); err != nil {
			return err
		}
		return tx.Nodes().Put(roles.Node{MAC: mac, Pool: "web", Slot: "web-01", Image: "web:2", Storage: "storage", State: roles.StateReady})
	})
	change(t, s, boot(1, "web:2", now.Add(-time.Hour), true))
	change(t, s, func(tx roles.Tx) error {
		return tx.Rollouts().Put(roles.Rollout{Pool: "web", From: images.Ref{Name: "web", Version: 1}, Image: images.Ref{Name: "web", Version: 9}})
	})
	expect("what is current goes first, what is not published is none", map[string][]string{"web": {"web:4", "web:1", "web:2"}})

	change(t, s, func(tx roles.Tx) error { return tx.Rollouts().Delete("web") })
	change(t, s, pool(""))
	expect("its node runs from the pair still", map[string][]string{"web": {"web:2"}})
	// Another process of this server knows, too.
	s.former = formerUsers{file: s.former.file}
	expect("after a restart of the server", map[string][]string{"web": {"web:2"}})
	change(t, s, boot(2, "", now.Add(time.Hour), false))
	expect("a packet is no restart", map[string][]string{"web": {"web:2"}})
	change(t, s, boot(2, "web:4", now.Add(time.Hour), true))
	expect("it restarted", map[string][]string{})
	s.former = formerUsers{file: s.former.file}
	expect("and is forgotten", map[string][]string{})

	change(t, s, pool("storage"))
	expect("it came back", map[string][]string{"web": {"web:4", "web:2"}})
	if err := os.WriteFile(s.former.file, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.former = formerUsers{file: s.former.file}
	if _, err := s.pairUsers("storage"); err == nil {
		t.Error("what nodes run from is not known, and nobody is told")
	}
}

// TestPairKeepsWhatRuns: who is no longer in its slot runs from the pair until it restarts, whatever is sent in its name.
func TestPairKeepsWhatRuns(t *testing.T) {
	s := rackOf(t)
	mac, err := roles.ParseMAC(webMAC)
	if err != nil {
		t.Fatal(err)
	}
	addresses := roles.AddressRange{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.20")}
	booted := time.Now().Add(-time.Hour)
	node := roles.Node{MAC: mac, Pool: "web", Slot: "web-01", Image: "web:2", Storage: "storage", State: roles.StateReady}
	slot := roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addresses.First, Node: mac}
	change(t, s, func(tx roles.Tx) error {
		return errors.Join(
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Storage: "storage", Addresses: addresses}),
			tx.Slots().Put(slot), tx.Nodes().Put(node),
			tx.Boots().Put(roles.Boot{ID: 1, Node: mac, Started: booted, Up: booted, Image: "web:2", Slot: "web-01"}))
	})
	expect := func(what string, want ...string) {
		t.Helper()
		if d := cmp.Diff(map[string][]string{"web": want}, using(t, s)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	expect("it runs", "web:4", "web:2")
	// As muster node release does.
	node.Pool, node.Slot, node.State, slot.Node = "", "", roles.StateWaiting, roles.MAC{}
	change(t, s, func(tx roles.Tx) error { return errors.Join(tx.Nodes().Put(node), tx.Slots().Put(slot)) })
	expect("it was released", "web:4", "web:2")
	for id := uint64(2); id < 2+2*roles.BootsKept; id++ {
		change(t, s, func(tx roles.Tx) error {
			return tx.Boots().Put(roles.Boot{ID: id, Node: mac, Started: time.Now()})
		})
	}
	expect("packets are sent in its name", "web:4", "web:2")
	change(t, s, func(tx roles.Tx) error {
		return tx.Boots().Put(roles.Boot{ID: 100, Node: mac, Started: time.Now(), Up: time.Now()})
	})
	expect("it restarted, and waits", "web:4")
}

// TestFormerUse: a role that is changed takes nothing from the nodes that booted with it as it was.
func TestFormerUse(t *testing.T) {
	s := rackOf(t)
	mac, err := roles.ParseMAC(webMAC)
	if err != nil {
		t.Fatal(err)
	}
	for v := 1; v <= 4; v++ {
		repack(t, s, images.Ref{Name: "web", Version: v})
	}
	addresses := roles.AddressRange{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.20")}
	boot := func(id uint64, started time.Time) func(tx roles.Tx) error {
		return func(tx roles.Tx) error {
			return tx.Boots().Put(roles.Boot{ID: id, Node: mac, Started: started, Up: started, Image: "web:2", Slot: "web-01"})
		}
	}
	change(t, s, func(tx roles.Tx) error {
		return errors.Join(
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Storage: "storage", Addresses: addresses}),
			tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: addresses.First, Node: mac}),
			tx.Nodes().Put(roles.Node{MAC: mac, Pool: "web", Slot: "web-01", Image: "web:2", Storage: "storage", State: roles.StateReady}))
	})
	change(t, s, boot(1, time.Now().Add(-time.Hour)))
	role := func(r roles.Role) { r.Name = "web"; s.registry.Library["web"] = r }
	// exports are the paths that web-01 may mount; those that it may write have a star.
	exports := func() (out []string) {
		t.Helper()
		users, err := s.pairUsers("storage")
		if err != nil {
			t.Fatal(err)
		}
		c, err := makeContents(users, packedAs)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Exports[1:] {
			if !e.ReadOnly {
				e.Path += "*"
			}
			out = append(out, e.Path)
		}
		return out
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, exports()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	www := roles.VolumeMount{Name: "www", Mount: "/var/www"}
	role(roles.Role{State: []string{"/srv"}, Volumes: []roles.VolumeMount{www}})
	before := []string{"images/web/2", "images/web/4", "state/web-01*", "volumes/www*"}
	expect("as it booted", before...)
	www.ReadOnly = true
	role(roles.Role{State: []string{"/srv"}, Volumes: []roles.VolumeMount{www}})
	expect("its volume is to be read-only", before...)
	role(roles.Role{Root: roles.RootRAM})
	before = slices.DeleteFunc(before, func(path string) bool { return path == "images/web/4" }) // the next one boots it into RAM
	expect("all of it is to go", before...)
	s.former = formerUsers{file: s.former.file}
	expect("after a restart of the server", before...)
	change(t, s, boot(2, time.Now().Add(time.Hour)))
	expect("it booted anew")
	role(roles.Role{State: []string{"/srv"}})
	expect("as it is to be now", "images/web/2", "images/web/4", "state/web-01*")
}

// repack notes that a version has its squashfs.
func repack(t *testing.T, s *server, ref images.Ref) {
	t.Helper()
	file := filepath.Join(s.catalog.Dir, ref.Name, fmt.Sprint(ref.Version), images.ImageFile)
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"ref": %q, "squashfs": 4096}`, ref), 0o644); err != nil {
		t.Error(err)
	}
}
