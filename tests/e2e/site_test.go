package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/roles"
	"muster/roles/api"
	"muster/tests/rack"
)

// patience bounds every wait for a machine: a boot takes 40 s here when nothing else runs, and CI machines
// are slow and noisy.
const patience = 6 * time.Minute

func configYAML(data, socket, lab string) string {
	s := fmt.Sprintf(`data: %s
library: /nonexistent
dhcpd:
  interfaces: [br0]
  subnets:
  - {subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199, router: 10.77.0.1, dns: [10.77.0.1], domain: rack.example, lease: 1h}
api: {socket: %s}
`, data, socket)
	if lab != "" {
		s += fmt.Sprintf("power: {lab: {socket: %s}}\n", lab)
	}
	return s
}

// rackYAML is what the tests declare: the library's roles with the small kernel.
const rackYAML = `
roles:
- {name: web, build: {kernel: cloud}, health: {http: {port: 80, path: /}, interval: 1s}}
- {name: ntp, build: {kernel: cloud}}
pools:
- {name: web, role: web, size: {min: 1, max: 4}, addresses: 10.77.0.20-10.77.0.23, match: {firmware: [bios]}, priority: 10, takeover: 1s}
- {name: ntp, role: ntp, size: {min: 1, max: 4}, addresses: 10.77.0.30-10.77.0.33, match: {firmware: [uefi]}}
`

// site is a rack with a boot server in it.
type site struct {
	t      *testing.T
	rack   *rack.Rack
	dir    string
	socket string
	client *api.Client

	serve  *exec.Cmd
	exited chan struct{} // closed when serve has ended
	log    screen        // of every serve so far
}

// newSite makes a rack, starts muster serve in it and declares rackYAML.
func newSite(t *testing.T) *site {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces and boots machines")
	}
	r, err := rack.New(t.Context(), rack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	s := &site{t: t, rack: r, dir: t.TempDir()}
	s.socket = filepath.Join(s.dir, "muster.sock")
	t.Cleanup(s.dump)

	lab := filepath.Join(s.dir, "lab.sock")
	go func() { _ = r.ServeLab(t.Context(), lab) }() // ends with the test
	data := filepath.Join(s.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	linkImages(t, data)
	write(t, filepath.Join(s.dir, "muster.yaml"), configYAML(data, s.socket, lab))
	write(t, filepath.Join(s.dir, "rack.yaml"), rackYAML)
	s.client = api.Dial(s.socket)
	s.start()
	t.Cleanup(s.stop)
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	return s
}

// linkImages gives a data directory the images, by hard links, and the key that they are signed with.
func linkImages(t *testing.T, data string) {
	t.Helper()
	for _, args := range [][]string{{"-al", filepath.Join(work.images, "images"), data}, {"-a", filepath.Join(work.images, "keys"), data}} {
		if out, err := exec.Command("cp", args...).CombinedOutput(); err != nil {
			t.Fatalf("link the images: %v: %s", err, out)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start runs muster serve and waits until its API answers.
func (s *site) start() {
	s.t.Helper()
	cmd := s.rack.Command(context.Background(), filepath.Join(work.bin, "muster"), "--config", filepath.Join(s.dir, "muster.yaml"), "serve")
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.serve, s.exited = cmd, make(chan struct{})
	go func(done chan struct{}) { // ends with the process
		_ = cmd.Wait()
		close(done)
	}(s.exited)
	deadline := time.After(time.Minute)
	for {
		if _, err := s.client.Version(s.t.Context()); err == nil {
			return
		}
		select {
		case <-s.exited:
			s.t.Fatalf("muster serve ended: %v\n%s", cmd.ProcessState, &s.log)
		case <-deadline:
			s.t.Fatalf("muster serve does not answer\n%s", &s.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends muster serve as systemd does.
func (s *site) stop() {
	_ = s.serve.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if !s.serve.ProcessState.Success() && !s.t.Failed() {
			s.t.Errorf("muster serve ended with %v after SIGTERM\n%s", s.serve.ProcessState, &s.log)
		}
	case <-time.After(30 * time.Second):
		s.t.Error("muster serve did not stop within 30 s of SIGTERM")
		_ = s.serve.Process.Kill()
		<-s.exited
	}
}

// kill ends muster serve as a power cut does.
func (s *site) kill() {
	_ = s.serve.Process.Kill()
	<-s.exited
}

// muster runs one command of the operator's.
func (s *site) muster(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("muster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try is muster for a command that may fail.
func (s *site) try(args ...string) (string, error) {
	conf := filepath.Join(s.dir, "muster.yaml")
	out, err := exec.Command(filepath.Join(work.bin, "muster"), append([]string{"--config", conf, "--socket", s.socket}, args...)...).CombinedOutput()
	return string(out), err
}

// powerOn adds a machine and switches it on.
func (s *site) powerOn(spec rack.MachineSpec) *rack.Machine {
	s.t.Helper()
	m, err := s.rack.Add(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := m.On(); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// wait waits until a node is as the test wants it.
func (s *site) wait(key string, what string, until func(roles.Node) bool) roles.Node {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var last roles.Node
	for ctx.Err() == nil {
		n, err := s.client.Node(ctx, key)
		if err == nil {
			if last = n; until(n) {
				return n
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s is not %s: it is %q in slot %q (%s)", key, what, last.State, last.Slot, last.Why)
	return last
}

func (s *site) waitReady(key, slot string) roles.Node {
	s.t.Helper()
	return s.wait(key, "ready in "+slot, func(n roles.Node) bool { return n.State == roles.StateReady && n.Slot == slot })
}

// get fetches a page over the rack's network.
func (s *site) get(url string) string {
	s.t.Helper()
	resp, err := s.rack.HTTPClient().Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v\n%s", url, resp.Status, err, b)
	}
	return string(b)
}

// report prints how long a boot took, step by step.
func (s *site) report(key string, m *rack.Machine) {
	b, err := s.client.Boot(s.t.Context(), key, 0)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.t.Logf("%s (%s): discover → ready %.1f s", b.Slot, m.Spec().Firmware, b.Ended.Sub(b.Started).Seconds())
	for _, ev := range b.Events {
		s.t.Logf("  %6.1f s  %-12s %s%s", ev.Time.Sub(b.Started).Seconds(), ev.Step, ev.Message, ev.Error)
	}
}

// dump prints what a person would look at after a failure.
func (s *site) dump() {
	if !s.t.Failed() {
		return
	}
	var b bytes.Buffer
	s.rack.Dump(&b, 200)
	if nodes, err := s.client.Nodes(context.Background()); err == nil {
		for _, n := range nodes {
			fmt.Fprintf(&b, "\n%s %s %s: %s\n", n.MAC, n.Slot, n.State, n.Why)
			boot, err := s.client.Boot(context.Background(), n.MAC.String(), 0)
			if err != nil {
				continue
			}
			for _, ev := range boot.Events {
				fmt.Fprintf(&b, "  %6.1f s  %-12s %s %s\n", ev.Time.Sub(boot.Started).Seconds(), ev.Step, ev.Message, ev.Error)
			}
		}
	}
	s.t.Logf("consoles and timelines:\n%s\nlog of muster serve:\n%s", b.String(), &s.log)
}
