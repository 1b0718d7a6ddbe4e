package dhcpd

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// alone runs a shell script in c with /run and /var/lib to itself, where programs keep what they know, and with a process
// tree of its own, that ends with the shell.
func (c *client) alone(script string) {
	c.Helper()
	file := c.file("alone")
	const private = `set -e
mount --make-rprivate /
for d in /run /var/lib; do mount -t tmpfs tmpfs $d; done
umount -l /sys
mount -t sysfs -o ro sysfs /sys # read-only, it tells systemd that there is no udev
`
	if err := os.WriteFile(file, []byte(private+script+"\nexit\n"), 0o700); err != nil {
		c.Fatal(err)
	}
	c.start("unshare", "-m", "-p", "-f", "--kill-child", "sh", file)
}

// shows waits until a command in c prints all of want, and gives what it printed.
func (c *client) shows(args []string, want ...string) string {
	c.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, _ := c.command(args...).CombinedOutput()
		missing := ""
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				missing = w
			}
		}
		if missing == "" {
			return string(out)
		}
		if time.Now().After(deadline) {
			c.Fatalf("%s: no %q in\n%s", strings.Join(args, " "), missing, out)
		}
	}
}

// routed has a subnet with all that it can be told.
func routed(s *Server) {
	n := rackNet
	n.RapidCommit, n.Routes = true, []Route{route("10.90.0.0/16", "10.77.0.7"), route("10.91.128.0/17", "10.77.0.7")}
	s.Subnets = []Subnet{n}
}

// TestNetworkd: systemd's client, with classless routes.
func TestNetworkd(t *testing.T) {
	const networkd = "/lib/systemd/systemd-networkd"
	if !inNamespace(t, networkd, "unshare") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	s := serveWith(t, routed, "srv1")
	c.alone(`mkdir -p /run/systemd/network /run/systemd/netif
chown -R systemd-network: /run/systemd/netif
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n' >/run/systemd/network/10-eth0.network
env SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console ` + networkd)
	if e := s.wait(Acked); e.Addr != ip("10.77.0.100") || e.Request.MAC != c.mac {
		t.Errorf("acked %+v", e)
	}
	c.shows([]string{"ip", "-4", "addr", "show", "eth0"}, "10.77.0.100/24")
	c.shows([]string{"ip", "-4", "route"}, "default via 10.77.0.1", "10.90.0.0/16 via 10.77.0.7", "10.91.128.0/17 via 10.77.0.7")
}

// TestDhcpcd: an address in two packets (RFC 4039), with a client identifier of RFC 4361, and classless routes.
func TestDhcpcd(t *testing.T) {
	if !inNamespace(t, "dhcpcd", "unshare") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	s := serveWith(t, routed, "srv1")
	if err := os.WriteFile(c.file("conf"), []byte("duid\noption rapid_commit, classless_static_routes, routers, domain_name\nipv4only\nnoipv4ll\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.alone(fmt.Sprintf("dhcpcd -B -d -f %s -c /bin/true eth0", c.file("conf")))
	e := s.wait(Acked)
	if e.Request.Type != dhcpv4.MessageTypeDiscover || e.Addr != ip("10.77.0.100") {
		t.Errorf("acked %s after %s, want it after DISCOVER", e.Addr, e.Request.Type)
	}
	c.shows([]string{"ip", "-4", "addr", "show", "eth0"}, "10.77.0.100/24")
	c.shows([]string{"ip", "-4", "route"}, "default via 10.77.0.1", "10.90.0.0/16 via 10.77.0.7", "10.91.128.0/17 via 10.77.0.7")
}

// TestNmap: what auditors look at a DHCP server with.
func TestNmap(t *testing.T) {
	if !inNamespace(t, "nmap") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	c.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	s := serve(t, "srv1")
	for _, args := range [][]string{
		{"nmap", "-e", "eth0", "--script", "broadcast-dhcp-discover", "--script-args", "broadcast-dhcp-discover.timeout=4"},
		{"nmap", "-n", "-Pn", "-sU", "-p", "67", "--script", "dhcp-discover", "10.77.0.1"},
	} {
		c.shows(args, "Server Identifier: 10.77.0.1", "Subnet Mask: 255.255.255.0", "Router: 10.77.0.1", "Domain Name: rack.example")
	}
	s.wait(Informed)
	if n := s.Leases.Len(); n != 0 {
		t.Errorf("looking at the server took %d leases", n)
	}
}

// TestPerfdhcp: ISC's generator as a relay, in a subnet that is not the link's.
func TestPerfdhcp(t *testing.T) {
	if !inNamespace(t, "perfdhcp") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	c.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	c.run("ip", "addr", "add", "10.79.0.1/16", "dev", "eth0") // the relay's
	run(t, "ip", "route", "add", "10.79.0.0/16", "via", "10.77.0.9")
	s := serveWith(t, func(s *Server) {
		n := remoteNet
		n.Prefix, n.Range, n.Router = rackNet.Prefix, rackNet.Range, rackNet.Router
		far := Subnet{Prefix: netip.MustParsePrefix("10.79.0.0/16"), Range: Range{ip("10.79.1.0"), ip("10.79.200.255")}}
		s.Subnets = []Subnet{n, far}
		s.Newcomers = Newcomers{Rate: -1, Total: -1}
	}, "srv1")
	const exchanges = 300
	out, err := c.command("perfdhcp", "-4", "-l", "10.79.0.1", "-r", "100", "-R", fmt.Sprint(exchanges), "-n", fmt.Sprint(exchanges), "-W", "5", "10.77.0.1").CombinedOutput()
	// It ends with 3 when some exchanges were not completed.
	if err != nil && !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("perfdhcp: %v\n%s", err, out)
	}
	got := map[string]bool{}
	for _, l := range s.Leases.All() {
		if !s.Subnets[1].Range.Contains(l.Addr) {
			t.Errorf("lease of %s, which is not of the relay's network", l.Addr)
		}
		got[l.MAC.String()] = true
	}
	if len(got) < exchanges*9/10 {
		t.Errorf("%d machines have leases, want %d\n%s", len(got), exchanges, out)
	}
}
