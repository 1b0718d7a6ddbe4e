package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot"
	"muster/httpboot/agent"
	"muster/httpboot/agent/pair"
	"muster/images"
	"muster/images/backendtest"
	"muster/roles"
)

// pairMachine is a storage machine of which nothing is real but its files, its mounts and the way in which it gets
// and verifies images: no DRBD, no cluster, no NFS server. Its volume is a RAM disk below root.
type pairMachine struct {
	pair.Linux
	root string
}

// Run knows exportfs alone, which reads what is in a file.
func (m pairMachine) Run(_ context.Context, _ []string, name string, args ...string) (string, error) {
	if name == "exportfs" {
		return "", nil
	}
	return "", &pair.ExitError{Command: name, Code: 127}
}

func (pairMachine) Find(netip.Addr) (string, error)          { return "eth0", nil }
func (pairMachine) AddAddress(string, netip.Prefix) error    { return nil }
func (pairMachine) RemoveAddress(string, netip.Prefix) error { return nil }
func (pairMachine) Announce(string, netip.Addr) error        { return nil }
func (m pairMachine) path(elem ...string) string {
	return filepath.Join(append([]string{m.root}, elem...)...)
}

// newPairMachine makes one that is active, until the test ends.
func newPairMachine(t *testing.T) pairMachine {
	t.Helper()
	m := pairMachine{root: t.TempDir()}
	for _, dir := range []string{"proc", "sys/block", "dev", "etc/exports.d", pair.RunDir, pair.Volume} {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/proc/self/mounts", m.path("proc/mounts")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(pair.Device, m.path(pair.Volume), "tmpfs", 0, "mode=0755"); err != nil {
		t.Skipf("needs root: mounts a volume: %v", err)
	}
	t.Cleanup(func() {
		b, _ := os.ReadFile("/proc/self/mounts")
		lines := strings.Split(string(b), "\n")
		for i := len(lines) - 1; i >= 0; i-- {
			if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], m.root+"/") {
				if err := unix.Unmount(f[1], unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if err := os.WriteFile(m.path(pair.ServingFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// look gives what a node sees of a mount, as exportfs would have it: it may mount what the deepest export that the
// path is in lets it.
func (m pairMachine) look(from netip.Addr, mount images.Mount) (string, error) {
	b, err := os.ReadFile(m.path("etc/exports.d/muster-pair.exports"))
	if err != nil {
		return "", err
	}
	best, may := "", false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "#" || f[0] == pair.ExportDir || len(f[0]) < len(best) {
			continue
		}
		if path := pair.ExportDir + mount.Path; path != f[0] && !strings.HasPrefix(path, f[0]+"/") {
			continue
		}
		best, may = f[0], false
		for _, client := range f[1:] {
			client, options, _ := strings.Cut(client, "(")
			if p, err := netip.ParsePrefix(client); err == nil && p.Contains(from) || client == from.String() {
				may = strings.Contains(options, "no_root_squash") && strings.Contains(options, "fsid=")
			}
		}
	}
	switch {
	case best == "":
		return "", fs.ErrNotExist
	case !may:
		return "", fs.ErrPermission
	}
	dir := m.path(pair.ExportDir, mount.Path)
	_, err = os.Stat(dir)
	return dir, err
}

// pairServer is a boot server as the machine's daemon reaches it, and what it knows of the pair: its one half is
// active and says what it has.
type pairServer struct {
	contents *contents

	mu     sync.Mutex
	report pair.Report // guarded by mu
}

// Call implements pair.Server.
func (s *pairServer) Call(_ context.Context, _ time.Duration, op string, in, out any) error {
	if op != pair.OpReport {
		return fmt.Errorf("op %q: %w", op, fs.ErrInvalid)
	}
	var r pair.Report
	b, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.report = r
	s.mu.Unlock()
	b, err = json.Marshal(pair.Orders{Contents: s.contents.orNone("storage", r.Revision)})
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

// Stored implements halves.
func (s *pairServer) Stored(_ roles.Pool, image string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.report.Active {
		return "nobody is active"
	}
	for _, has := range s.report.Images {
		if has == image || image == "" {
			return ""
		}
	}
	if image == "" {
		return ""
	}
	return "waits for " + image
}

// Pair implements halves.
func (s *pairServer) Pair(pool string) (roles.PairView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return roles.PairView{Pair: roles.Pair{Pool: pool}, Address: netip.MustParseAddr("10.77.0.9"), Serving: s.report.Active,
		Halves: []roles.HalfView{{Half: roles.Half(s.report), Slot: "storage-01", Heard: time.Now()}}}, nil
}

// anybody is a director for a server that only serves images.
type anybody struct{ httpboot.Director }

// TestPairConforms runs the suite over the code of the storage machines themselves, from packed images to exports. It
// does not see the kernel's NFS server, DRBD or a takeover: package rack's machines do.
func TestPairConforms(t *testing.T) {
	if _, err := exec.LookPath("mksquashfs"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root, and mksquashfs: packs and mounts images")
	}
	backendtest.Run(t, newPairHost)
}

func newPairHost(t *testing.T) backendtest.Host {
	p, m := newPublisher(t), newPairMachine(t)
	handler, err := (&httpboot.Server{Director: anybody{}, Images: bootFiles{p.catalog}}).Handler()
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	fetcher, err := agent.NewFetcher(fmt.Sprintf("%s=%s %s=%s %s=t %s=10.77.0.10/24 %s=%s", agent.ParamServer, web.URL, agent.ParamMAC, storageMAC,
		agent.ParamToken, agent.ParamAddress, agent.ParamKey, keys{images: p.catalog.Key}.public()))
	if err != nil {
		t.Fatal(err)
	}
	fetcher.HTTP = &http.Client{}

	pool := user(t, "web", "10.77.0.20-10.77.0.21", roles.Role{Name: "web", State: []string{backendtest.State},
		Volumes: []roles.VolumeMount{{Name: backendtest.Volume, Mount: backendtest.VolumeMount}}})
	var revision atomic.Uint64
	var mu sync.Mutex // guards pool.images
	packs := &packer{catalog: p.catalog, log: p.log}
	newContents := func() *contents {
		return &contents{revision: revision.Load, packs: packs, log: p.log, users: func(string) ([]pairUser, error) {
			mu.Lock()
			defer mu.Unlock()
			return []pairUser{pool}, nil
		}}
	}
	server := &pairServer{contents: newContents()}
	b := &pairBackend{pool: pool.pool, halves: server, contents: server.contents, packs: packs}

	var stop func()
	start := func(t *testing.T) {
		d := &pair.Daemon{
			Config: pair.Config{Pool: "storage", Slot: "storage-01", Number: 1, Address: netip.MustParseAddr("10.77.0.10"), Peer: "storage-02",
				PeerAddress: netip.MustParseAddr("10.77.0.11"), Floating: netip.MustParsePrefix("10.77.0.9/24")},
			Root: m.root, System: m, Network: m, Server: server, Store: fetcher, Console: agent.NewConsole(io.Discard, false),
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }() // ends with ctx
		stop = func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	start(t)
	t.Cleanup(func() { stop() })
	return backendtest.Host{
		Backend: b, Look: m.look,
		Publish: func(t *testing.T, tree string) images.Image {
			img, err := p.catalog.Pack(t.Context(), p.publish(t, tree).Ref)
			if err != nil {
				t.Fatal(err)
			}
			return img
		},
		Use: func(t *testing.T, all ...images.Image) {
			mu.Lock()
			pool.images = all
			mu.Unlock()
			revision.Add(1)
		},
		Damage: func(t *testing.T, img images.Image) {
			f, err := os.OpenFile(filepath.Join(img.Dir, images.SquashfsFile), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var b [1]byte
			if _, err := f.ReadAt(b[:], img.Squashfs/2); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1
			if _, err := f.WriteAt(b[:], img.Squashfs/2); err != nil {
				t.Fatal(err)
			}
		},
		// The half and the boot server at once: what they know is on the volume and in the rack.
		Restart: func(t *testing.T) {
			stop()
			server.mu.Lock()
			server.report, server.contents = pair.Report{}, newContents()
			b.contents = server.contents
			server.mu.Unlock()
			start(t)
		},
	}
}
