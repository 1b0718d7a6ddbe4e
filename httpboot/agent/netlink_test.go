package agent

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace moves the test's thread to a network namespace of its own with the two ends of a cable, m0
// and m1, m1 being up. The thread ends with the test, and the namespace with it.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread must not be used again
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "add", "m0", "type", "veth", "peer", "name", "m1")
	ip(t, "link", "set", "m1", "up")
}

// ip runs in the thread's namespace: a child is made by the thread that asks.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestSetAddress(t *testing.T) {
	inNamespace(t)
	var n LinuxNetwork
	for _, nic := range []string{"lo", "m0"} {
		if err := n.Up(nic); err != nil {
			t.Fatalf("up %s: %v", nic, err)
		}
	}
	gw := netip.MustParseAddr("10.77.0.1")
	for _, tc := range []struct {
		addr  string
		gw    netip.Addr
		route string
	}{
		{"10.77.0.100/24", gw, "default via 10.77.0.1 dev m0"},
		{"10.77.0.100/24", gw, "default via 10.77.0.1 dev m0"}, // again: nothing changes
		{"10.77.0.22/24", gw, "default via 10.77.0.1 dev m0"},  // same subnet: no secondary is left
		{"10.77.0.22/16", netip.Addr{}, ""},
		{"192.0.2.1/32", gw, "default via 10.77.0.1 dev m0 onlink"},
		{"192.0.2.2/31", netip.IPv4Unspecified(), ""},
	} {
		if err := n.SetAddress("m0", netip.MustParsePrefix(tc.addr), tc.gw); err != nil {
			t.Fatalf("%s: %v", tc.addr, err)
		}
		got := ip(t, "-4", "-o", "addr", "show", "m0")
		if strings.Count(got, "inet ") != 1 || !strings.Contains(got, "inet "+tc.addr) {
			t.Errorf("%s: addresses are %s", tc.addr, got)
		}
		if route := strings.TrimSpace(ip(t, "route", "show", "default")); route != tc.route {
			t.Errorf("%s: default route is %q, want %q", tc.addr, route, tc.route)
		}
	}
	if got := ip(t, "-4", "-o", "addr", "show", "lo"); !strings.Contains(got, "127.0.0.1/8") {
		t.Errorf("lo has %s", got)
	}
	for nic, addr := range map[string]string{"nothere": "10.0.0.1/8", "m0": "fe80::1/64"} {
		if err := n.SetAddress(nic, netip.MustParsePrefix(addr), netip.Addr{}); err == nil {
			t.Errorf("%s on %s: no error", addr, nic)
		}
	}
}

// The kernel at the other end of the cable answers for its own address, and hears announcements.
func TestProbe(t *testing.T) {
	inNamespace(t)
	ip(t, "link", "set", "m0", "up")
	ip(t, "addr", "add", "10.77.0.22/24", "dev", "m1")
	var n LinuxNetwork
	who, err := n.Probe(t.Context(), "m0", netip.MustParseAddr("10.77.0.22"))
	b, ierr := net.InterfaceByName("m1")
	if err != nil || ierr != nil || who.String() != b.HardwareAddr.String() {
		t.Errorf("probe: %v, %v; want %v (%v)", who, err, b.HardwareAddr, ierr)
	}
	start := time.Now()
	if who, err := n.Probe(t.Context(), "m0", netip.MustParseAddr("10.77.0.23")); who != nil || err != nil {
		t.Errorf("probe of a free address: %v, %v", who, err)
	}
	if time.Since(start) < probeWait {
		t.Error("a free address was not waited for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Probe(ctx, "m0", netip.MustParseAddr("10.77.0.23")); err == nil {
		t.Error("a cancelled probe has no error")
	}
	s, err := openARP("m1")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s.fd)
	if err := n.Announce("m0", netip.MustParseAddr("10.77.0.24")); err != nil {
		t.Fatal(err)
	}
	a, _ := net.InterfaceByName("m0")
	who, err = s.conflict(t.Context(), netip.MustParseAddr("10.77.0.24"), time.Now().Add(10*time.Second))
	if err != nil || who.String() != a.HardwareAddr.String() {
		t.Errorf("announced by %v, %v", who, err)
	}
}

func TestARPOwner(t *testing.T) {
	own, other := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	addr, free := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	reply := arpRequest(other, addr, free)
	reply[21] = 2
	for name, tc := range map[string]struct {
		frame []byte
		taken bool
	}{
		"an answer":                 {reply, true},
		"its holder asks":           {arpRequest(other, addr, free), true},
		"it is announced":           {arpRequest(other, addr, addr), true},
		"another probes for it too": {arpRequest(other, netip.IPv4Unspecified(), addr), true},
		"somebody looks for it":     {arpRequest(other, free, addr), false},
		"our own probe":             {arpRequest(own, netip.IPv4Unspecified(), addr), false},
		"our own announcement":      {arpRequest(own, addr, addr), false},
		"too short":                 {reply[:arpSize-1], false},
		"another address is probed": {arpRequest(other, netip.IPv4Unspecified(), free), false},
		"not ARP":                   {append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}, reply[14:]...), false},
		"padded to a whole frame":   {append(append([]byte(nil), reply...), make([]byte, 18)...), true},
	} {
		if who := arpOwner(tc.frame, own, addr); (who != nil) != tc.taken || (who != nil && who.String() != other.String()) {
			t.Errorf("%s: %v", name, who)
		}
	}
}

func FuzzARPOwner(f *testing.F) {
	own, addr := net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.5")
	f.Add(arpRequest(net.HardwareAddr{2, 0, 0, 0, 0, 2}, addr, addr))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if who := arpOwner(frame, own, addr); who != nil && (len(who) != 6 || who.String() == own.String()) {
			t.Errorf("%x: %v", frame, who)
		}
	})
}

func TestAddAddress(t *testing.T) {
	inNamespace(t)
	var n LinuxNetwork
	if err := n.Up("m0"); err != nil {
		t.Fatal(err)
	}
	own, more := netip.MustParsePrefix("10.77.0.10/24"), netip.MustParsePrefix("10.77.0.9/24")
	if err := n.SetAddress("m0", own, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := n.AddAddress("m0", more); err != nil {
			t.Fatal(err)
		}
	}
	if got := ip(t, "-4", "-o", "addr", "show", "m0"); strings.Count(got, more.String()) != 1 || !strings.Contains(got, own.String()) {
		t.Errorf("addresses:\n%s", got)
	}
	for range 2 {
		if err := n.RemoveAddress("m0", more); err != nil {
			t.Fatal(err)
		}
	}
	if got := ip(t, "-4", "-o", "addr", "show", "m0"); strings.Contains(got, more.String()) || !strings.Contains(got, own.String()) {
		t.Errorf("addresses:\n%s", got)
	}
	if err := n.AddAddress("m9", more); err == nil {
		t.Error("an interface that there is not got an address")
	}
}
