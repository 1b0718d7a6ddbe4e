package radv

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/ipv6"

	"muster/dhcpd/lease"
)

// serving starts a server on br0; it must end cleanly with the test.
func serving(t *testing.T, s *Server) {
	t.Helper()
	conn, err := s.Listen("br0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }() // ends when the test does
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	})
}

// TestSolicit asks as iPXE does, over a real link.
func TestSolicit(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	bridge(t)
	m := newHost(t, "m0")
	mac, _ := m.identity()
	s := &Server{Answer: func(a lease.MAC) bool { return a == mac }}
	serving(t, s)
	c := m.listen(ipv6.ICMPTypeRouterAdvertisement)
	solicit := append(octets("85 00 00 00 00 00 00 00 01 01"), mac[:]...)

	// From behind a router, and from a machine that is not booting: no answer.
	c.send(solicit, net.IPv6linklocalallrouters, 64)
	c.send(append(solicit[:10:10], 2, 0, 0, 0, 0, 9), net.IPv6linklocalallrouters, 255)
	await(t, "two dropped solicitations", func() bool {
		return count(t, s.metrics.drops.WithLabelValues(string(dropMalformed))) >= 1 &&
			count(t, s.metrics.drops.WithLabelValues(string(dropUnknown))) >= 1
	})
	c.send(solicit, net.IPv6linklocalallrouters, 255)
	got, cm, from := c.receive()
	want := bytes.Clone(advertisement)
	copy(want[2:4], got[2:]) // the checksum, which the kernel has verified
	if !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	if cm.HopLimit != 255 || from != linkLocal(t, "br0") || cm.Dst.IsMulticast() {
		t.Errorf("from %s to %s with hop limit %d", from, cm.Dst, cm.HopLimit)
	}
	// Its own kernel has solicited too, and that is the same machine.
	if n := count(t, s.metrics.advertisements); n > 2 {
		t.Errorf("%v answers", n)
	}
}

// TestHostIsNotDisturbed: Linux, which believes router advertisements, learns nothing from ours, and what it
// has from a real router it keeps.
func TestHostIsNotDisturbed(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	bridge(t)
	serving(t, &Server{})
	m := newHost(t, "m0") // its kernel solicits by itself when the link comes up
	await(t, "the kernel to get an answer", m.advertised)
	if out := m.run("ip", "-6", "route"); strings.Contains(out, "default") {
		t.Errorf("we are a router:\n%s", out)
	}
	if out := m.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); out != "" {
		t.Errorf("it has an address:\n%s", out)
	}

	r := newHost(t, "r0")
	router := r.listen(ipv6.ICMPTypeRouterSolicitation)
	real := bytes.Clone(advertisement)
	real[4], real[6] = 63, 7 // hop limit, lifetime 1792 s
	router.send(real, net.IPv6linklocalallnodes, 255)
	_, routerAddr := r.identity()
	route := func() bool { return strings.Contains(m.run("ip", "-6", "route"), "default via "+routerAddr.String()) }
	await(t, "the real router's route", route)

	c := m.listen(ipv6.ICMPTypeRouterAdvertisement)
	c.send(octets("85 00 00 00 00 00 00 00"), net.IPv6linklocalallrouters, 255)
	c.receive()
	if hops := m.run("cat", "/proc/sys/net/ipv6/conf/eth0/hop_limit"); !route() || hops != "63\n" {
		t.Errorf("the real router was lost, hop limit %s:\n%s", hops, m.run("ip", "-6", "route"))
	}
	// The same from the router itself does take its route away: the test can tell.
	router.send(advertisement, net.IPv6linklocalallnodes, 255)
	await(t, "the route to go", func() bool { return !route() })
}

// TestSilentWhere: interfaces on which it must not or cannot answer are no error, and are told of once.
func TestSilentWhere(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	bridge(t)
	newHost(t, "m0")
	for _, tt := range []struct{ name, sysctl, value, want string }{
		{"router", "forwarding", "1", "IPv6 router"},
		{"disabled", "disable_ipv6", "1", "no IPv6 link-local address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key := "net.ipv6.conf.br0." + tt.sysctl
			run(t, "sysctl", "-qw", key+"="+tt.value)
			defer run(t, "sysctl", "-qw", key+"=0")
			var log logged
			s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
			serving(t, s)
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "INFO") || !strings.Contains(got, tt.want) {
				t.Errorf("log: %q", got)
			}
			p, err := open("br0")
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if err := p.send(machineAddr, advertisement); !errors.Is(err, dropLink) {
				t.Errorf("sent, error %v", err)
			}
		})
	}
	if _, err := new(Server).Listen("br0", "nosuch0"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `"nosuch0"`) {
		t.Errorf("error %v", err)
	}
}

// TestNoIPv6: an interface whose frames are too small for IPv6 has none.
func TestNoIPv6(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	run(t, "ip", "link", "add", "br0", "mtu", "1000", "type", "bridge")
	run(t, "ip", "link", "set", "br0", "up")
	var log logged
	s := &Server{Log: slog.New(slog.NewTextHandler(&log, nil))}
	serving(t, s)
	if got := log.String(); !strings.Contains(got, "INFO") || !strings.Contains(got, "no IPv6") {
		t.Errorf("log: %q", got)
	}
}

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
