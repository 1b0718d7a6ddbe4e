package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// knotd runs the name server of the role's own image on the boot server: the hidden primary, and a root of its own.
func (s *site) knotd(conf string) *exec.Cmd {
	s.t.Helper()
	trees, err := filepath.Glob(filepath.Join(work.images, "images/dns/*/tree"))
	if err != nil || len(trees) == 0 {
		s.t.Fatal("the image dns has no tree")
	}
	top := filepath.Join(s.dir, "knot")
	write(s.t, filepath.Join(s.zones(), "knot.conf"), conf)
	const run = `cd "$1" && mkdir -p up work root && mount --make-rprivate / &&
mount -t overlay overlay -o lowerdir="$2",upperdir=up,workdir=work root && mkdir root/zones && mount --bind zones root/zones &&
mount -t proc proc root/proc && mount --rbind /dev root/dev && exec chroot root knotd -c /zones/knot.conf`
	cmd := s.rack.Command(context.Background(), "unshare", "--mount", "sh", "-c", run, "-", top, trees[0])
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// zones is where the hidden primary has its zones.
func (s *site) zones() string {
	dir := filepath.Join(s.dir, "knot/zones")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func zone(serial int, lines string) string {
	return fmt.Sprintf("@ 60 SOA ns.name. admin.name. %d 3600 600 86400 60\n@ 60 NS ns.name.\n%s\n", serial, lines)
}

const primaryConf = `
server:
    listen: 10.77.0.1@53
    rundir: /zones
log:
  - target: stderr
    any: info
database:
    storage: /zones
key:
  - id: muster
    algorithm: hmac-sha256
    secret: %s
remote:
  - id: dns
    address: 10.77.0.40
    key: muster
acl:
  - id: out
    key: muster
    action: transfer
template:
  - id: default
    storage: /zones
    file: "%%s.zone"
    acl: out
    journal-content: none
    zonefile-sync: -1
zone:
  - domain: .
    file: root.zone
  - domain: far.name
  - domain: hidden.example
    notify: dns
`

// TestRoleDNS: one address answers the world for the zones of the volume and of the hidden primary, and the rack
// for everything.
func TestRoleDNS(t *testing.T) {
	s := newRoleSite(t, "dns", "{primary: 10.77.0.1, primaryZones: [hidden.example], roots: {a.root-servers.name: 10.77.0.1}, dnssec: false}")
	key := base64.StdEncoding.EncodeToString([]byte("a key that the hidden primary has"))
	write(t, filepath.Join(s.dir, "tsig"), key)
	s.muster("secret", "set", "pool/dns/tsig", filepath.Join(s.dir, "tsig"))
	write(t, filepath.Join(s.zones(), "root.zone"), ". 60 SOA a.root-servers.name. admin.name. 1 3600 600 86400 60\n. 60 NS a.root-servers.name.\n"+
		"a.root-servers.name. 60 A 10.77.0.1\nfar.name. 60 NS a.root-servers.name.\n")
	write(t, filepath.Join(s.zones(), "far.name.zone"), zone(1, "www 60 A 198.51.100.7"))
	write(t, filepath.Join(s.zones(), "hidden.example.zone"), zone(1, "www 60 A 192.0.2.1"))
	primary := s.knotd(fmt.Sprintf(primaryConf, key))
	if _, err := s.outside("ip", "addr", "add", "203.0.113.1/32", "dev", "br0"); err != nil {
		t.Fatal(err)
	}
	s.volume("zones", "example.org.zone", zone(1, "www 60 A 192.0.2.7\nfar 60 CNAME www.far.name."))
	m := s.roleMachine("dns", "names")
	s.waitReady(m.MAC().String(), "dns-01")
	s.report("dns-01", m)

	client := []string{"@10.77.0.40", "+timeout=5"}
	stranger := append(client, "-b", "203.0.113.1")
	ask := func(want string, who []string, what ...string) {
		t.Helper()
		s.untilSays(want, "kdig", append(append([]string{}, who...), what...)...)
	}
	ask("192.0.2.7", stranger, "+short", "www.example.org")
	ask("Flags: qr aa", stranger, "www.example.org")
	ask("192.0.2.1", stranger, "+short", "+tcp", "www.hidden.example")
	ask("status: REFUSED", stranger, "www.far.name")
	ask("198.51.100.7", client, "+short", "www.far.name")
	ask("198.51.100.7", client, "+short", "far.example.org") // an alias out of the zone
	ask("192.0.2.1", client, "+short", "www.hidden.example")

	// Zones change, and nothing is restarted.
	s.volume("zones", "example.org.zone", zone(2, "www 60 A 192.0.2.8"))
	s.volume("zones", "example.net.zone", zone(1, "www 60 A 192.0.2.9"))
	write(t, filepath.Join(s.zones(), "hidden.example.zone"), zone(2, "www 60 A 192.0.2.2"))
	if err := primary.Process.Signal(syscall.SIGHUP); err != nil { // read again, and notify
		t.Fatal(err)
	}
	ask("192.0.2.8", stranger, "+short", "www.example.org")
	ask("192.0.2.9", stranger, "+short", "www.example.net")
	ask("192.0.2.9", client, "+short", "www.example.net")
	ask("192.0.2.2", stranger, "+short", "www.hidden.example")
	ask("192.0.2.2", client, "+short", "www.hidden.example")
}
