package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"muster/roles"
	"muster/tests/rack"
)

const ramYAML = `
roles:
- name: web
  root: ram
  vars: {greeting: hello}
  secrets:
  - {name: host, kind: ssh}
  - {name: tsig, kind: key, scope: pool}
  files:
  - path: /etc/nginx/conf.d/files.conf
    reload: [nginx.service]
    content: |
      server { listen 81; return 200 "{{.Vars.greeting}} from {{.Name}} of {{.Pool.Name}} at {{.Address}}"; }
      server { listen 82; return 200 "{{public "host"}}"; }
  - path: /etc/ssh/ssh_host_ed25519_key
    content: '{{secret "host"}}'
  - path: /srv/www-data.key
    owner: www-data:www-data
    mode: 0400
    content: '{{secret "tsig"}}'
`

// TestRootInRAM boots a machine whose root is in RAM and whose files have secrets, changes a file while it runs,
// takes the boot server away, and replaces the machine.
func TestRootInRAM(t *testing.T) {
	s := newSite(t)
	declared := filepath.Join(s.dir, "ram.yaml")
	write(t, declared, ramYAML)
	s.muster("apply", "-f", declared)
	m := s.powerOn(rack.MachineSpec{Name: "ram", Firmware: rack.BIOS, MemoryMiB: 1024})
	s.waitReady(m.MAC().String(), "web-01")
	s.report("web-01", m)
	if got := s.get("http://10.77.0.20:81/"); got != "hello from web-01 of web at 10.77.0.20" {
		t.Errorf("the file is not the template's: %q", got)
	}
	key := s.get("http://10.77.0.20:82/")
	if !strings.HasPrefix(key, "ssh-ed25519 ") {
		t.Errorf("the host key is %q", key)
	}

	write(t, declared, strings.Replace(ramYAML, "greeting: hello", "greeting: good morning", 1))
	s.muster("apply", "-f", declared)
	if got := s.get("http://10.77.0.20:81/"); !strings.HasPrefix(got, "hello") {
		t.Errorf("a running node has changed before it was synced: %q", got)
	}
	s.muster("node", "sync", "web-01")
	s.untilSays("good morning", "curl", "-sS", "http://10.77.0.20:81/") // nginx reloads in the background

	s.muster("node", "restart", "web-01")
	s.wait("web-01", "restarted", func(n roles.Node) bool { return n.Boot > 1 && n.State == roles.StateReady })
	if b, err := s.client.Boot(t.Context(), "web-01", 1); err != nil || !m.Running() {
		t.Errorf("boot 1: %+v, %v", b, err)
	}

	// A root in RAM needs no server.
	s.stop()
	if got := s.get("http://10.77.0.20:81/"); !strings.HasPrefix(got, "good morning") {
		t.Errorf("without a boot server the node says %q", got)
	}
	s.start()

	if err := m.Off(); err != nil {
		t.Fatal(err)
	}
	s.wait("web-01", "failed", func(n roles.Node) bool { return n.State == roles.StateFailed })
	other := s.powerOn(rack.MachineSpec{Name: "other", Firmware: rack.BIOS, MemoryMiB: 1024})
	s.waitReady(other.MAC().String(), "web-01")
	if got := s.get("http://10.77.0.20:82/"); got != key {
		t.Errorf("the replacement has another host key: %q, was %q", got, key)
	}
	for _, out := range []string{s.muster("secret", "list"), s.muster("export"), s.log.String()} {
		if strings.Contains(out, "PRIVATE KEY") {
			t.Errorf("a secret is where people read:\n%s", out)
		}
	}
}
