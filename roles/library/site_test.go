package library

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
	"muster/roles/declare"
	"muster/roles/state"
	"muster/tests/rack"
)

// patience bounds every wait.
const patience = time.Minute

// site is a network with a boot server's registry; nodes of one role are added to it. They are namespaces with the
// role's files and services in them, and volumes that are one directory of this machine: what only a boot and NFS
// can show is tested with machines, in tests/e2e.
type site struct {
	t        *testing.T
	rack     *rack.Rack
	root     string
	dir      string // volumes/NAME and state/SLOT/DIR
	role     roles.Role
	registry *roles.Registry
}

type published struct{}

func (published) Find(ref images.Ref) (images.Image, error) {
	return images.Image{Ref: images.Ref{Name: ref.Name, Version: 7}}, nil
}

// newSite has a pool of two slots, 10.77.0.21 and 10.77.0.22; vars are YAML, and may be followed by more fields.
func newSite(t *testing.T, name, vars string) *site {
	t.Helper()
	s := &site{t: t, root: needRoot(t), dir: t.TempDir(), role: readRole(t, name)}
	var err error
	if s.rack, err = rack.New(t.Context(), rack.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.rack.Close() })
	store := state.OpenMemory()
	t.Cleanup(func() { _ = store.Close() })
	s.registry = &roles.Registry{
		Store: store, Images: published{}, Library: map[string]roles.Role{name: s.role},
		Network: func(netip.Addr) (roles.Network, bool) {
			return roles.Network{Prefix: netip.MustParsePrefix("10.77.0.0/24"), Router: netip.MustParseAddr("10.77.0.1"),
				Domain: "rack.example", Server: netip.MustParseAddr("10.77.0.1")}, true
		},
	}
	s.declare(fmt.Sprintf("pools: [{name: %[1]s, role: %[1]s, size: {min: 1, max: 2}, addresses: 10.77.0.21-10.77.0.22, vars: %[2]s}]\n", name, vars))
	return s
}

func (s *site) declare(text string) {
	s.t.Helper()
	d, err := declare.Parse([]byte(text), "rack.yaml")
	if err == nil {
		_, err = s.registry.Apply(s.t.Context(), d, roles.ApplyOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// volume is a volume's directory, as on the boot server.
func (s *site) volume(name string) string { return filepath.Join(s.dir, "volumes", name) }

// write puts a file into a volume.
func (s *site) write(volume, name, text string) {
	s.t.Helper()
	path := filepath.Join(s.volume(volume), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// eventually waits until fn has no fault to find.
func (s *site) eventually(what string, fn func() error) {
	s.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s: %v", what, err)
}

// client runs a program as a stranger on the network does, and gives what it says.
func (s *site) client(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := s.rack.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
