package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func files(m map[string]string) fs.FS {
	out := fstest.MapFS{}
	for k, v := range m {
		out[k] = &fstest.MapFile{Data: []byte(v)}
	}
	return out
}

func named(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// inNamespace calls fn on a thread in a network namespace of its own, which ends with it. The namespace has
// eth1 (10.77.0.1/24, up), eth2 (down) and eth3 (up, no address), each a veth pair's end.
func inNamespace(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	done := make(chan error)
	go func() { // ends with fn; its thread is not unlocked, so that the runtime throws it away
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = links()
		}
		if err == nil {
			fn(t)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func links() error {
	for _, n := range []string{"eth1", "eth2", "eth3"} {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: n}, PeerName: n + "p"}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		if n == "eth2" {
			continue
		}
		peer, err := netlink.LinkByName(n + "p")
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.LinkSetUp(pair), netlink.LinkSetUp(peer)); err != nil {
			return err
		}
	}
	eth1, err := netlink.LinkByName("eth1")
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr("10.77.0.1/24")
	return errors.Join(err, netlink.AddrAdd(eth1, a))
}

func TestDetect(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		// A gateway at the top of the subnet, and a neighbour in the upper half.
		eth1, err := netlink.LinkByName("eth1")
		if err != nil {
			t.Error(err)
			return
		}
		err = errors.Join(
			netlink.RouteAdd(&netlink.Route{LinkIndex: eth1.Attrs().Index, Gw: addr("10.77.0.254").AsSlice()}),
			netlink.NeighAdd(&netlink.Neigh{LinkIndex: eth1.Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: addr("10.77.0.140").AsSlice(), HardwareAddr: []byte{2, 0, 0, 0, 0, 1}}))
		if err != nil {
			t.Error(err)
			return
		}
		h := host{files(map[string]string{
			"etc/resolv.conf":                  "# stub\nnameserver 127.0.0.53\nsearch .\n",
			"run/systemd/resolve/resolv.conf":  "nameserver 10.77.0.253\nnameserver 192.0.2.53\nnameserver fe80::1\n",
			"etc/hosts":                        "127.0.0.1 localhost\n127.0.1.1 boot.lan.example boot # me\n",
			"proc/sys/net/ipv4/ip_forward":     "1\n",
			"proc/sys/net/ipv4/something_else": "",
		}), named("boot")}
		got, err := h.detect("eth1")
		if err != nil {
			t.Error(err)
			return
		}
		path := t.TempDir() + "/etc/muster.yaml"
		if err := Write(path, got.Config, false); err != nil {
			t.Error(err)
		}
		b, _ := os.ReadFile(path)
		want := `# Muster's boot server on eth1. Keys that are not here have their defaults.
dhcpd:
  interfaces: [eth1]
  subnets:
  # range: for machines that have no slot yet. The addresses of pools (rack.yaml) lie outside of it.
  - {subnet: 10.77.0.0/24, range: 10.77.0.141-10.77.0.252, router: 10.77.0.254, dns: [10.77.0.253, 192.0.2.53], domain: lan.example, lease: 1h}
`
		if d := cmp.Diff(want, string(b)); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		again, err := Load(path)
		if err != nil {
			t.Error(err)
			return
		}
		if d := cmp.Diff(got.Config, again, equal...); d != "" {
			t.Errorf("what was read is not what was written (-found +read):\n%s", d)
		}
		wantNotes := []string{
			"subnet 10.77.0.0/24: eth1 has the address 10.77.0.1",
			"router 10.77.0.254: this server's default route",
			"dns [10.77.0.253 192.0.2.53]: from /run/systemd/resolve/resolv.conf",
			"domain lan.example: from /etc/hosts",
			"range 10.77.0.141-10.77.0.252: free in the upper half of 10.77.0.0/24; the rest is for pools",
		}
		if d := cmp.Diff(wantNotes, got.Notes); d != "" {
			t.Errorf("notes: -want +got:\n%s", d)
		}
	})
}

func TestDetectBareHost(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		// No route: a name server that is elsewhere cannot be reached by the nodes.
		h := host{files(map[string]string{"etc/resolv.conf": "nameserver 192.0.2.53\n"}), named("boot")}
		got, err := h.detect("eth1")
		if err != nil {
			t.Error(err)
			return
		}
		s := got.Config.DHCPD.Subnets[0]
		if s.Router.IsValid() || len(s.DNS) > 0 || s.Domain != "rack.internal" || s.Range.String() != "10.77.0.128-10.77.0.254" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestDetectForwarder(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := host{files(map[string]string{"proc/sys/net/ipv4/ip_forward": "1\n"}), named("boot.rack.example")}
		got, err := h.detect("eth1")
		if err != nil {
			t.Error(err)
			return
		}
		s := got.Config.DHCPD.Subnets[0]
		if s.Router != addr("10.77.0.1") || s.Domain != "rack.example" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestDetectErrors(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for iface, want := range map[string]string{
			"eth9": `no interface "eth9" (there are eth1, eth1p, eth2, eth2p, eth3, eth3p)`,
			"eth2": `interface "eth2" is down; first: ip link set eth2 up`,
			"eth3": `interface "eth3" has no IPv4 address; first give it one that stays, for instance: ip addr add 10.77.0.1/24 dev eth3`,
			"lo":   `no machine boots from the loopback interface "lo"`,
		} {
			_, err := Detect(iface)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", iface, err, want)
			}
			if errors.Is(err, fs.ErrNotExist) != (iface == "eth9") {
				t.Errorf("%s: wrong kind: %v", iface, err)
			}
		}
	})
}

func TestFreeRange(t *testing.T) {
	for _, tt := range []struct{ subnet, used, want string }{
		{"10.77.0.0/24", "10.77.0.1", "10.77.0.128-10.77.0.254"},
		{"10.77.0.0/24", "10.77.0.128 10.77.0.254", "10.77.0.129-10.77.0.253"},
		{"10.77.0.0/24", "10.77.0.200", "10.77.0.128-10.77.0.199"},
		{"10.77.0.0/24", "10.77.0.150 10.77.0.150 192.0.2.1 fd00::1", "10.77.0.151-10.77.0.254"},
		{"10.77.0.64/26", "10.77.0.65", "10.77.0.96-10.77.0.126"},
		{"10.77.0.0/16", "10.77.0.1", "10.77.240.0-10.77.255.254"},
		{"10.77.0.8/29", "10.77.0.9", "10.77.0.12-10.77.0.14"},
		{"10.77.0.0/30", "10.77.0.1", "10.77.0.2"},
		{"10.77.0.0/30", "10.77.0.2", ""},
		{"10.77.0.0/32", "10.77.0.0", ""},
		{"10.77.0.0/31", "10.77.0.0", ""},
	} {
		var used []netip.Addr
		for _, f := range strings.Fields(tt.used) {
			used = append(used, addr(f))
		}
		got, err := freeRange(netip.MustParsePrefix(tt.subnet), used)
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s without %s: got %v, %v; want %s", tt.subnet, tt.used, got, err, tt.want)
		}
		if got.Len() > rangeMax {
			t.Errorf("%s: %d addresses", tt.subnet, got.Len())
		}
	}
}
