package radv

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/net/ipv6"

	"muster/dhcpd/lease"
)

// patience is how long a test waits for something that has to happen. Nothing waits for it to pass.
const patience = time.Minute

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// inNamespace runs the calling test once more in a process of its own, in a network namespace without a
// name that ends with it. It returns true there, and false, when that is over, in the outer process.
func inNamespace(t *testing.T, tools ...string) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	for _, tool := range append(tools, "ip", "nsenter", "sysctl") {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	const mark = "MUSTER_TEST_NAMESPACE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
	return false
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// bridge makes br0, the link of all hosts, and waits until its own address may be used.
func bridge(t *testing.T) {
	t.Helper()
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	run(t, "ip", "link", "add", "peer0", "type", "veth", "peer", "name", "carrier0")
	run(t, "ip", "link", "set", "carrier0", "up")
	run(t, "ip", "link", "set", "peer0", "up", "master", "br0")
	run(t, "ip", "link", "set", "br0", "up")
	await(t, "the address of br0", func() bool {
		out := run(t, "ip", "-6", "addr", "show", "dev", "br0")
		return strings.Contains(out, "fe80:") && !strings.Contains(out, "tentative")
	})
}

func linkLocal(t *testing.T, name string) netip.Addr {
	t.Helper()
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := (&socket{ifi: ifi}).source()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// host is another network namespace, whose eth0 is on the bridge.
type host struct {
	*testing.T
	pid int // of the process that holds the namespace
}

func newHost(t *testing.T, port string) *host {
	t.Helper()
	hold := exec.Command("sleep", "infinity")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Process.Kill(); _ = hold.Wait() })
	h := &host{t, hold.Process.Pid}
	run(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(h.pid))
	run(t, "ip", "link", "set", port, "up", "master", "br0")
	h.run("ip", "link", "set", "lo", "up")
	h.run("ip", "link", "set", "eth0", "up")
	await(t, "the address of "+port, func() bool {
		out := h.run("ip", "-6", "addr", "show", "dev", "eth0")
		return strings.Contains(out, "fe80:") && !strings.Contains(out, "tentative")
	})
	return h
}

func (h *host) run(args ...string) string {
	h.Helper()
	return run(h.T, "nsenter", append([]string{"-t", fmt.Sprint(h.pid), "-n"}, args...)...)
}

// identity gives the host's MAC and link-local address.
func (h *host) identity() (mac lease.MAC, a netip.Addr) {
	h.Helper()
	link := strings.Fields(h.run("ip", "-br", "link", "show", "dev", "eth0"))
	addr := strings.Fields(h.run("ip", "-br", "-6", "addr", "show", "dev", "eth0"))
	if len(link) < 3 || len(addr) < 3 {
		h.Fatalf("link %q, addresses %q", link, addr)
	}
	if err := mac.UnmarshalText([]byte(link[2])); err != nil {
		h.Fatal(err)
	}
	return mac, netip.MustParsePrefix(addr[2]).Addr()
}

// advertised reports whether the kernel of the host has taken a router advertisement.
func (h *host) advertised() bool {
	h.Helper()
	return strings.Contains(h.run("cat", "/proc/net/snmp6"), "Icmp6InType134") // it lists what came only
}

// client is an ICMPv6 socket on a host.
type client struct {
	*host
	*ipv6.PacketConn
	index int // of eth0
}

// listen opens a client for one type of messages.
func (h *host) listen(only ipv6.ICMPType) *client {
	h.Helper()
	var index int
	if _, err := fmt.Sscanf(h.run("ip", "-o", "link", "show", "dev", "eth0"), "%d:", &index); err != nil {
		h.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		h.Fatal(err)
	}
	defer here.Close()
	there, err := netns.GetFromPid(h.pid)
	if err != nil {
		h.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		h.Fatal(err)
	}
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if back := netns.Set(here); back != nil {
		os.Exit(3) // this thread is in the wrong namespace for good
	}
	if err != nil {
		h.Fatal(err)
	}
	pc := ipv6.NewPacketConn(c)
	h.Cleanup(func() { pc.Close() })
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(only)
	if err := errors.Join(pc.SetICMPFilter(&filter), pc.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true)); err != nil {
		h.Fatal(err)
	}
	return &client{h, pc, index}
}

// send sends a message over the host's link.
func (c *client) send(b []byte, to net.IP, hops int) {
	c.Helper()
	if _, err := c.WriteTo(b, &ipv6.ControlMessage{HopLimit: hops, IfIndex: c.index}, &net.IPAddr{IP: to}); err != nil {
		c.Fatal(err)
	}
}

// receive gives the next message.
func (c *client) receive() (b []byte, cm *ipv6.ControlMessage, from netip.Addr) {
	c.Helper()
	b = make([]byte, 1500)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, cm, src, err := c.ReadFrom(b)
	if err != nil {
		c.Fatal(err)
	}
	from, _ = netip.AddrFromSlice(src.(*net.IPAddr).IP)
	return b[:n], cm, from
}
