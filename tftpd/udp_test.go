package tftpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rawUDP is a client's socket on a real network.
func rawUDP(t testing.TB, local string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// rrq is a request for "f" with pairs of options.
func rrq(options ...option) []byte {
	return request{op: opRRQ, file: "f", mode: "octet", options: options}.encode()
}

// ask sends a request and returns the answer in words and where it came from.
func ask(t *testing.T, c *net.UDPConn, to netip.AddrPort, p []byte) (string, netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(p, to); err != nil {
		t.Fatal(err)
	}
	return next(t, c)
}

// next reads a packet.
func next(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 65536)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return describe(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// TestAnswersFromAskedAddress: every address of 127.0.0.0/8 is ours; the kernel would choose 127.0.0.1.
func TestAnswersFromAskedAddress(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		addr, ended := start(t, one(10), listen)
		for _, host := range []string{"127.0.0.2", "127.1.2.3"} {
			c := rawUDP(t, "127.0.0.1:0")
			asked := netip.AddrPortFrom(netip.MustParseAddr(host), addr.Port())
			_, from := ask(t, c, asked, rrq())
			if from.Addr() != asked.Addr() || from.Port() == addr.Port() {
				t.Errorf("listening on %s, asked %s, answered by %s", listen, asked, from)
			}
			if _, err := c.WriteToUDPAddrPort([]byte{0, opAck, 0, 1}, from); err != nil {
				t.Fatal(err)
			}
			if tr := ended.next(t); tr.Err != nil || tr.Local != asked.Addr() {
				t.Errorf("observed %+v", tr)
			}
		}
	}
}

// TestFamilies: 0.0.0.0 is IPv4 alone.
func TestFamilies(t *testing.T) {
	addr, _ := start(t, one(10), "0.0.0.0:0")
	c := rawUDP(t, "[::1]:0")
	if _, err := c.WriteToUDPAddrPort(rrq(), netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())); err != nil {
		t.Fatal(err)
	}
	d, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, _ = d.Write(rrq())
	_ = d.SetDeadline(time.Now().Add(patience))
	if _, err := d.Read(make([]byte, 100)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("IPv6: %v, want connection refused", err)
	}
}

// TestPortTaken: the error says which port, and what to do.
func TestPortTaken(t *testing.T) {
	addr, _ := start(t, one(10), "127.0.0.1:0")
	_, err := Listen(addr.String())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr.String()) || !strings.Contains(err.Error(), "another TFTP server") {
		t.Errorf("Listen = %v", err)
	}
	if _, err := Listen("nonsense"); err == nil || !strings.HasPrefix(err.Error(), "tftpd: ") {
		t.Errorf("Listen = %v", err)
	}
}

// TestClosedPort: a client that went away ends its transfer at once, by the kernel's ICMP error.
func TestClosedPort(t *testing.T) {
	addr, ended := start(t, one(100_000), "127.0.0.1:0")
	c := rawUDP(t, "127.0.0.1:0")
	_, from := ask(t, c, addr, rrq())
	if _, err := c.WriteToUDPAddrPort([]byte{0, opAck, 0, 1}, from); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if tr := ended.next(t); !errors.Is(tr.Err, ErrGone) {
		t.Errorf("observed %+v", tr)
	}
}

// TestStranger: another port's packets do not touch a transfer (RFC 1350 §4).
func TestStranger(t *testing.T) {
	addr, ended := start(t, one(600), "127.0.0.1:0")
	c, stranger := rawUDP(t, "127.0.0.1:0"), rawUDP(t, "127.0.0.1:0")
	_, from := ask(t, c, addr, rrq())
	for _, p := range [][]byte{errorPacket(0, "stop"), {0, opAck, 0, 1}, {0, opAck, 0, 2}} {
		if _, err := stranger.WriteToUDPAddrPort(p, from); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := ask(t, c, from, []byte{0, opAck, 0, 1}); got != "DATA 2 88" {
		t.Errorf("got %q", got)
	}
	if _, err := c.WriteToUDPAddrPort([]byte{0, opAck, 0, 2}, from); err != nil {
		t.Fatal(err)
	}
	if tr := ended.next(t); tr.Err != nil {
		t.Errorf("observed %+v", tr)
	}
}

// TestDestination reads control messages of both families.
func TestDestination(t *testing.T) {
	v4 := func(spec, dst string) []byte {
		s, d := netip.MustParseAddr(spec).As4(), netip.MustParseAddr(dst).As4()
		return unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 1, Spec_dst: s, Addr: d})
	}
	v6 := func(dst string) []byte {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: netip.MustParseAddr(dst).As16(), Ifindex: 1})
	}
	for _, c := range []struct {
		name string
		oob  []byte
		want string // "" means to be left out
	}{
		{"unicast", v4("10.0.0.1", "10.0.0.1"), "10.0.0.1"},
		{"broadcast", v4("10.0.0.1", "10.0.0.255"), ""},
		{"all ones", v4("10.0.0.1", "255.255.255.255"), ""},
		{"IPv6", v6("fd00::1"), "fd00::1"},
		{"IPv6 multicast", v6("ff02::1"), ""},
		{"both", append(v6("::ffff:10.0.0.1"), v4("10.0.0.1", "10.0.0.1")...), "10.0.0.1"},
		{"both, broadcast", append(v6("::ffff:10.0.0.255"), v4("10.0.0.1", "10.0.0.255")...), ""},
		{"none", nil, ""},
		{"cut", v4("10.0.0.1", "10.0.0.1")[:20], ""},
	} {
		got, ok := destination(c.oob)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s: %v, %v, want %q", c.name, got, ok, c.want)
		}
	}
}

// inNamespace runs the calling test again as a process in a network namespace of its own, and returns true in
// there.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("TFTPD_TEST_NAMESPACE") == "1" {
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (iproute2)")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TFTPD_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	return false
}

// ip runs ip(8).
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// TestPathMTU: blocks fit one packet of the path, and MaxBlksize is taken as it is.
func TestPathMTU(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link set lo up mtu 1400")
	ip(t, "addr add fd00::1/128 dev lo")
	auto, _ := start(t, one(9000), "[::]:0")
	fixed := one(9000)
	fixed.MaxBlksize = 8192
	large, _ := start(t, fixed, "[::]:0")
	for _, c := range []struct {
		host string
		port uint16
		want int
	}{
		{"127.0.0.1", auto.Port(), 1400 - 20 - 8 - 4},
		{"::1", auto.Port(), 1400 - 40 - 8 - 4},
		{"127.0.0.1", large.Port(), 8192},
	} {
		host := netip.MustParseAddr(c.host)
		cl := rawUDP(t, netip.AddrPortFrom(host, 0).String())
		got, _ := ask(t, cl, netip.AddrPortFrom(host, c.port), rrq(option{"blksize", "65464"}))
		if want := fmt.Sprintf("OACK blksize=%d", c.want); got != want {
			t.Errorf("%s: %q, want %q", c.host, got, want)
		}
		_, err := cl.WriteToUDPAddrPort(errorPacket(0, "enough"), netip.AddrPortFrom(host, c.port))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBroadcastIgnored: RFC 1123 §4.2.3.5. A floating address is answered for, like any other.
func TestBroadcastIgnored(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "link add eth9 type veth peer name eth8")
	ip(t, "addr add 10.77.0.1/24 brd + dev eth9")
	ip(t, "addr add 10.77.0.9/32 dev eth9")
	ip(t, "link set eth8 up")
	ip(t, "link set eth9 up")
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		addr, ended := start(t, one(10), listen)
		c := rawUDP(t, "10.77.0.1:0")
		if _, err := c.WriteToUDPAddrPort(rrq(), netip.AddrPortFrom(netip.MustParseAddr("10.77.0.255"), addr.Port())); err != nil {
			t.Fatal(err)
		}
		// Whatever the broadcast causes is caused before this is answered.
		got, from := ask(t, c, netip.AddrPortFrom(netip.MustParseAddr("10.77.0.9"), addr.Port()), rrq())
		if got != "DATA 1 10" || from.Addr().String() != "10.77.0.9" {
			t.Errorf("%q from %s", got, from)
		}
		if _, err := c.WriteToUDPAddrPort([]byte{0, opAck, 0, 1}, from); err != nil {
			t.Fatal(err)
		}
		if tr := ended.next(t); tr.Err != nil || tr.Local.String() != "10.77.0.9" {
			t.Errorf("observed %+v", tr)
		}
	}
}

// TestStopUDP: a transfer that waits for its client ends with the server, and the client is told; also from the port that
// requests come to.
func TestStopUDP(t *testing.T) {
	for _, single := range []bool{false, true} {
		conn, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn.SinglePort = single
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- one(100_000).Serve(ctx, conn) }()
		c := rawUDP(t, "127.0.0.1:0")
		_, from := ask(t, c, conn.Addr(), rrq())
		if got, _ := ask(t, c, from, []byte{0, opAck, 0, 1}); got != "DATA 2 512" {
			t.Fatalf("got %q", got)
		}
		cancel()
		for got := ""; got != "ERROR 0 server is stopping"; {
			got, _ = next(t, c)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		if again, err := Listen(conn.Addr().String()); err != nil {
			t.Errorf("the port is still taken: %v", err)
		} else {
			_ = again.Close()
		}
	}
}

// TestRetransmissionUDP: the poller's alarms ring: a block that is not acknowledged comes again, and again.
func TestRetransmissionUDP(t *testing.T) {
	addr, ended := start(t, one(600), "127.0.0.1:0")
	c := rawUDP(t, "127.0.0.1:0")
	_, from := ask(t, c, addr, rrq())
	if got, _ := ask(t, c, from, []byte{0, opAck, 0, 1}); got != "DATA 2 88" {
		t.Fatalf("got %q", got)
	}
	for range 2 {
		if got, _ := next(t, c); got != "DATA 2 88" {
			t.Fatalf("got %q", got)
		}
	}
	if _, err := c.WriteToUDPAddrPort([]byte{0, opAck, 0, 2}, from); err != nil {
		t.Fatal(err)
	}
	if tr := ended.next(t); tr.Err != nil || tr.Retransmissions < 2 {
		t.Errorf("observed %+v", tr)
	}
}
