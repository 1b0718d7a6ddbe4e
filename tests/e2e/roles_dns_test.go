package e2e

import (
	"context"
	"encoding/base64"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"muster/tests/names"
)

// knotd runs the name server of the role's own image on the boot server: the hidden primary, and a root of its own.
func (s *site) knotd() *exec.Cmd {
	s.t.Helper()
	trees, err := filepath.Glob(filepath.Join(work.images, "images/dns/*/tree"))
	if err != nil || len(trees) == 0 {
		s.t.Fatal("the image dns has no tree")
	}
	top := filepath.Join(s.dir, "knot")
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

// TestRoleDNS: one address answers the world for the zones of the volume and of the hidden primary, and the rack
// for everything.
func TestRoleDNS(t *testing.T) {
	s := newRoleSite(t, "dns", "{primary: 10.77.0.1, primaryZones: [hidden.example], roots: {a.root-servers.name: 10.77.0.1}, dnssec: false}")
	key := base64.StdEncoding.EncodeToString([]byte("a key that the hidden primary has"))
	write(t, filepath.Join(s.dir, "tsig"), key)
	s.muster("secret", "set", "pool/dns/tsig", filepath.Join(s.dir, "tsig"))
	for name, text := range names.Files("/zones", netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("10.77.0.40"), key) {
		write(t, filepath.Join(s.zones(), name), text)
	}
	primary := s.knotd()
	if _, err := s.outside("ip", "addr", "add", "203.0.113.1/32", "dev", "br0"); err != nil {
		t.Fatal(err)
	}
	s.volume("zones", "example.org.zone", names.Zone(1, "www 60 A 192.0.2.7\nfar 60 CNAME www.far.name."))
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
	s.volume("zones", "example.org.zone", names.Zone(2, "www 60 A 192.0.2.8"))
	s.volume("zones", "example.net.zone", names.Zone(1, "www 60 A 192.0.2.9"))
	write(t, filepath.Join(s.zones(), "hidden.example.zone"), names.Zone(2, "www 60 A 192.0.2.2"))
	if err := primary.Process.Signal(syscall.SIGHUP); err != nil { // read again, and notify
		t.Fatal(err)
	}
	ask("192.0.2.8", stranger, "+short", "www.example.org")
	ask("192.0.2.9", stranger, "+short", "www.example.net")
	ask("192.0.2.9", client, "+short", "www.example.net")
	ask("192.0.2.2", stranger, "+short", "www.hidden.example")
	ask("192.0.2.2", client, "+short", "www.hidden.example")
}
