package dhcpd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"muster/dhcpd/lease"
)

// live is a Server on real interfaces.
type live struct {
	*testing.T
	*Server
	events chan Event
	stop   func()

	mu    sync.Mutex
	hosts fixedHosts
}

func (s *live) Host(_ context.Context, r *Request) Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[r.MAC]
}

func (s *live) Reserved(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts.Reserved(a)
}

func (s *live) fix(m lease.MAC, h Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts[m] = h
}

// serve starts a server on interfaces; it must end cleanly with the test.
func serve(t *testing.T, interfaces ...string) *live {
	t.Helper()
	return serveWith(t, func(*Server) {}, interfaces...)
}

// serveWith is serve with settings of its own.
func serveWith(t *testing.T, set func(*Server), interfaces ...string) *live {
	t.Helper()
	s := &live{T: t, events: make(chan Event, 10000), hosts: fixedHosts{}}
	s.Server = &Server{Subnets: []Subnet{rackNet, remoteNet}, Policy: s, Leases: new(lease.Table),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe: func(e Event) {
			e.Request = e.Request.clone()
			select {
			case s.events <- e:
			default:
			}
		}}
	set(s.Server)
	conn, err := s.Listen(interfaces...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }() // ends when the test does
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// wait gives the next event of a kind.
func (s *live) wait(kind Kind) Event {
	s.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-s.events:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			s.Fatalf("no %s in %s", kind, patience)
		}
	}
}

// clientScript is what dhclient and udhcpc call when something happened: it sets the address and notes it.
const clientScript = `#!/bin/sh
what=${reason:-$1}; addr=${new_ip_address:-$ip}
case $what in
PREINIT) ip link set eth0 up ;;
BOUND|REBOOT|RENEW|REBIND|bound|renew)
  ip addr flush dev eth0; ip addr add $addr/24 dev eth0 ;;
RELEASE|EXPIRE|STOP|deconfig) ip addr flush dev eth0 ;;
esac
echo "$what $addr $new_host_name$hostname $new_domain_name$domain" >>LOG
`

// client is a machine that real DHCP clients run on.
type client struct {
	*machine
	mac lease.MAC
	dir string
}

func newClient(t *testing.T, n int, port, cidr string) *client {
	c := &client{newMachine(t, port, cidr), mac(n), t.TempDir()}
	c.run("ip", "link", "set", "eth0", "address", c.mac.String())
	script := strings.ReplaceAll(clientScript, "LOG", c.file("log"))
	if err := os.WriteFile(c.file("script"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *client) file(name string) string { return filepath.Join(c.dir, name) }

// dhclient starts ISC dhclient, with a client identifier of its own. It remembers its leases.
func (c *client) dhclient() (stop func()) {
	c.Helper()
	conf := "send dhcp-client-identifier \"isc-" + fmt.Sprint(c.mac[5]) + "\";\nrequest subnet-mask, routers, domain-name, host-name;\ninitial-interval 1;\n"
	if err := os.WriteFile(c.file("conf"), []byte(conf), 0o644); err != nil {
		c.Fatal(err)
	}
	_ = os.Remove(c.file("log"))
	_, stop = c.start(append(c.isc(), "-d", "eth0")...)
	return stop
}

// remembers waits until dhclient has written its lease, which it does after it has called the script.
func (c *client) remembers(a netip.Addr) {
	c.Helper()
	var b []byte
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if b, _ = os.ReadFile(c.file("leases")); strings.Contains(string(b), "fixed-address "+a.String()+";") {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("dhclient wrote %q, want a lease of %s", b, a)
		}
	}
}

func (c *client) isc() []string {
	return []string{"dhclient", "-4", "-v", "-cf", c.file("conf"), "-lf", c.file("leases"), "-pf", c.file("pid"), "-sf", c.file("script")}
}

// udhcpc starts busybox' client.
func (c *client) udhcpc(args ...string) *os.Process {
	c.Helper()
	_ = os.Remove(c.file("log"))
	p, _ := c.start(append([]string{"busybox", "udhcpc", "-f", "-i", "eth0", "-t", "20", "-T", "1", "-s", c.file("script")}, args...)...)
	return p
}

// log gives what the script noted last.
func (c *client) log() string {
	b, _ := os.ReadFile(c.file("log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// noted waits until the last thing that the script noted is what.
func (c *client) noted(what string) {
	c.Helper()
	for deadline := time.Now().Add(patience); c.log() != what; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("the client noted %q, want %q", c.log(), what)
		}
	}
}

func TestRealClients(t *testing.T) {
	if !inNamespace(t, "dhclient", "busybox") {
		return
	}
	rack := newClient(t, 1, "srv1", "10.77.0.1/24")
	remote := newClient(t, 2, "srv2", "10.78.0.1/24")
	s := serve(t, "srv1", "srv2")

	// dhclient: a new lease; told the interface it came from, by the subnet of that interface.
	stop := rack.dhclient()
	first := s.wait(Acked)
	if first.Request.MAC != rack.mac || first.Addr != ip("10.77.0.100") || first.Request.Interface != "srv1" {
		t.Fatalf("dhclient: %+v", first)
	}
	rack.noted("BOUND 10.77.0.100  rack.example")
	rack.remembers(first.Addr)
	stop()

	// dhclient again, which remembers its lease: INIT-REBOOT.
	stop = rack.dhclient()
	if e := s.wait(Acked); e.Addr != first.Addr || e.Request.Requested != first.Addr || e.Request.ServerID.IsValid() {
		t.Errorf("init-reboot: %+v", e)
	}
	rack.noted("REBOOT 10.77.0.100  rack.example")
	stop()

	// udhcpc with another client identifier, and the broadcast flag: the same address. It renews by unicast.
	udhcpc := rack.udhcpc("-B")
	if e := s.wait(Acked); e.Addr != first.Addr || !e.Request.Broadcast {
		t.Errorf("udhcpc: %+v", e)
	}
	rack.noted("bound 10.77.0.100  rack.example")
	if err := udhcpc.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if e := s.wait(Acked); e.Request.Client != first.Addr || !e.Request.Unicast {
		t.Errorf("renew: client %s, unicast %v", e.Request.Client, e.Request.Unicast)
	}
	rack.noted("renew 10.77.0.100  rack.example")
	if err := udhcpc.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if e := s.wait(Released); e.Addr != first.Addr {
		t.Errorf("release: %+v", e)
	}
	if l, _ := s.Leases.ByMAC(rack.mac); l.Active(time.Now()) {
		t.Errorf("after the release: %+v", l)
	}

	// The second subnet, without the broadcast flag: the reply is a raw frame to the MAC.
	remote.udhcpc()
	if e := s.wait(Acked); e.Request.MAC != remote.mac || e.Addr != ip("10.78.0.100") || e.Request.Broadcast {
		t.Errorf("second subnet: %+v", e)
	}
}

// TestRealClientMoves: dhclient remembers a dynamic address, is refused, and comes up with its slot's.
func TestRealClientMoves(t *testing.T) {
	if !inNamespace(t, "dhclient") {
		return
	}
	c := newClient(t, 1, "srv1", "10.77.0.1/24")
	s := serve(t, "srv1")
	stop := c.dhclient()
	s.wait(Acked)
	c.noted("BOUND 10.77.0.100  rack.example")
	c.remembers(ip("10.77.0.100"))
	stop()
	slot := ip("10.77.0.20")
	s.fix(c.mac, Host{Address: slot, Hostname: "web-01"})
	stop = c.dhclient()
	if e := s.wait(Refused); e.Reason != nakFixed {
		t.Errorf("refused: %+v", e)
	}
	if e := s.wait(Acked); e.Addr != slot || e.Hostname != "web-01" {
		t.Errorf("moved: %+v", e)
	}
	c.noted("BOUND 10.77.0.20 web-01 rack.example")
	c.remembers(slot)
	stop()
	c.run(append(c.isc(), "-r", "eth0")...)
	if e := s.wait(Released); e.Addr != slot {
		t.Errorf("release: %+v", e)
	}
}

// TestProbeOnTheWire: somebody uses an address of the range without having asked, and a client comes up beside it.
func TestProbeOnTheWire(t *testing.T) {
	if !inNamespace(t, "busybox") {
		return
	}
	squatter := newMachine(t, "srv1", "10.77.0.1/24")
	squatter.run("ip", "addr", "add", "10.77.0.100/24", "dev", "eth0")
	c := newClient(t, 1, "srv2", "")
	run(t, "ip", "link", "add", "br0", "type", "bridge")
	run(t, "ip", "addr", "flush", "dev", "srv1")
	for _, port := range []string{"srv1", "srv2"} {
		run(t, "ip", "link", "set", port, "master", "br0")
	}
	run(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "br0")
	run(t, "ip", "link", "set", "br0", "up")
	s := serveWith(t, func(s *Server) { s.Probe = true }, "br0")
	c.udhcpc()
	if e := s.wait(Conflict); e.Addr != ip("10.77.0.100") || e.Other == c.mac || e.Interface != "br0" {
		t.Errorf("conflict %+v", e)
	}
	if e := s.wait(Acked); e.Addr != ip("10.77.0.101") {
		t.Errorf("acked %s", e.Addr)
	}
	if l, ok := s.Leases.ByAddr(ip("10.77.0.100")); !ok || !l.Declined {
		t.Errorf("lease of the used address: %+v", l)
	}
	c.noted("bound 10.77.0.101  rack.example")
	// The squatter takes the client's.
	squatter.run("ip", "addr", "add", "10.77.0.101/24", "dev", "eth0")
	squatter.run("ip", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	squatter.start("busybox", "arping", "-I", "eth0", "-s", "10.77.0.101", "-U", "10.77.0.101")
	if e := s.wait(Conflict); e.Addr != ip("10.77.0.101") || e.MAC != c.mac {
		t.Errorf("conflict %+v", e)
	}
}
