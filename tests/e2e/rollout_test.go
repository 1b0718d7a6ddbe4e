package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// readerYAML is a node that reads its root again and again, past every cache, and says on its console what it
// found. It stays on the version that it booted.
const readerYAML = `
roles:
- name: reader
  image: web
  files:
  - path: /etc/systemd/system/multi-user.target.d/reader.conf
    content: "[Unit]\nWants=reader.service\n"
  - path: /etc/systemd/system/reader.service
    content: "[Service]\nExecStart=/bin/sh /etc/reader\n"
  - path: /etc/reader
    content: |
      say() { echo "<2>reader: $*" >/dev/kmsg; }
      read_all() { echo 3 >/proc/sys/vm/drop_caches; find /usr/bin /usr/sbin /etc/nginx /usr/share/nginx -xdev -type f -exec sha256sum {} + 2>&1; }
      read_all >/run/first
      say "$(wc -l </run/first) files"
      n=0
      while :; do
        read_all >/run/again
        if ! cmp -s /run/first /run/again; then say "CHANGED $(diff /run/first /run/again | head -5)"; fi
        n=$((n + 1)); say "pass $n"
      done
pools:
- {name: reader, role: reader, size: {min: 1, max: 1}, addresses: 10.77.0.40-10.77.0.40, match: {product: [Reader]}, priority: 30}
`

// TestRollout takes a pool to a new version and, when the next one is broken, back, while another node reads
// the old version all the time.
func TestRollout(t *testing.T) {
	s := newSite(t)
	write(t, filepath.Join(s.dir, "reader.yaml"), readerYAML)
	s.muster("apply", "-f", filepath.Join(s.dir, "reader.yaml"))
	reader := s.powerOn(rack.MachineSpec{Name: "reader", Firmware: rack.BIOS, Product: "Reader"})
	a := s.powerOn(rack.MachineSpec{Name: "a", Firmware: rack.BIOS})
	b := s.powerOn(rack.MachineSpec{Name: "b", Firmware: rack.BIOS})
	s.waitReady(reader.MAC().String(), "reader-01")
	for _, m := range []*rack.Machine{a, b} {
		s.wait(m.MAC().String(), "ready", func(n roles.Node) bool { return n.State == roles.StateReady })
	}
	s.passes(reader, 1)

	s.buildWeb(map[string]string{"etc/nginx/conf.d/version.conf": "server { listen 81; return 200 second; }\n"})
	if page := s.get("http://10.77.0.20/"); !strings.Contains(page, "web:1") {
		t.Errorf("a new version has changed a node that runs:\n%s", page)
	}
	stop := s.watchMinimum("web", 1)
	t.Logf("\n%s", s.muster("pool", "rollout", "web", "--image", "web:2", "--timeout", "5m"))
	for _, addr := range []string{"10.77.0.20", "10.77.0.21"} {
		if page := s.get("http://" + addr + "/"); !strings.Contains(page, "web:2") {
			t.Errorf("%s runs not the new version:\n%s", addr, page)
		}
		if got := s.get("http://" + addr + ":81/"); got != "second" {
			t.Errorf("%s has not the new version's configuration: %q", addr, got)
		}
	}

	s.buildWeb(map[string]string{"etc/nginx/conf.d/version.conf": "this is no configuration;\n"})
	out, err := s.try("pool", "rollout", "web", "--image", "web:3", "--timeout", "75s")
	t.Logf("\n%s", out)
	if err == nil || !strings.Contains(out, "rolled") {
		t.Errorf("the broken version was rolled out: %v", err)
	}
	for _, addr := range []string{"10.77.0.20", "10.77.0.21"} { // the way back may take longer than the rollout waited
		s.untilSays("web:2", "curl", "-sS", "http://"+addr+"/")
	}
	stop()

	s.muster("image", "publish", "web:2")
	pruned := s.muster("image", "prune", "web", "--keep", "1")
	t.Logf("\n%s", pruned)
	if _, err := os.Stat(filepath.Join(s.dir, "data/images/web/1/tree")); err != nil {
		t.Errorf("the version that reader-01 runs was removed: %v", err)
	}
	s.muster("image", "verify", "web:2")
	// The node's root is still what it was, after all of this.
	s.passes(reader, 1+s.passed(reader))
	if console := reader.Console(); strings.Contains(console, "CHANGED") || strings.Contains(console, "Stale") || strings.Contains(console, "I/O error") {
		t.Error("the node that reads its root has found a change or an error")
	}

	if err := reader.Off(); err != nil {
		t.Fatal(err)
	}
	s.muster("node", "release", reader.MAC().String())
	s.muster("node", "forget", reader.MAC().String())
	s.muster("image", "prune", "web", "--keep", "1")
	if _, err := os.Stat(filepath.Join(s.dir, "data/images/web/1")); err == nil {
		t.Error("a version that nobody uses any more was not removed")
	}
	if page := s.get("http://10.77.0.20/"); !strings.Contains(page, "web:2") {
		t.Errorf("removing another version disturbed the node:\n%s", page)
	}
}

// buildWeb builds the next version of web, with these files over its root.
func (s *site) buildWeb(files map[string]string) {
	s.t.Helper()
	overlay := s.t.TempDir()
	for name, text := range files {
		path := filepath.Join(overlay, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.t.Fatal(err)
		}
		write(s.t, path, text)
	}
	declared := filepath.Join(s.dir, "web.yaml")
	write(s.t, declared, fmt.Sprintf("roles: [{name: web, build: {kernel: cloud, overlay: %s}}]\n", overlay))
	began := time.Now()
	out := s.muster("image", "build", "web", "--local", "--file", declared, "--quiet")
	s.t.Logf("%s (%.0f s)", strings.TrimSpace(out), time.Since(began).Seconds())
}

// watchMinimum sees to it that a pool has never fewer ready nodes than min, until the returned function is called.
func (s *site) watchMinimum(pool string, min int) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if p, err := s.client.Pool(s.t.Context(), pool); err == nil && p.Ready < min {
				s.t.Errorf("pool %s has %d ready nodes, minimum %d", pool, p.Ready, min)
				return
			}
			select {
			case <-end:
				return
			case <-s.t.Context().Done(): // the test has failed before it came to stop
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-done }
}

var passLine = regexp.MustCompile(`reader: pass (\d+)`)

// passed is how many times a reader has read its root.
func (s *site) passed(m *rack.Machine) int {
	n := 0
	for _, found := range passLine.FindAllStringSubmatch(m.Console(), -1) {
		fmt.Sscan(found[1], &n)
	}
	return n
}

// passes waits until a reader has read its root n times.
func (s *site) passes(m *rack.Machine, n int) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for s.passed(m) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s has read its root %d times, want %d", m.Name(), s.passed(m), n)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
