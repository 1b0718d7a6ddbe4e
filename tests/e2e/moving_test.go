package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/roles/api"
)

// TestMoving moves a network from another DHCP server: its machines keep their addresses, those that Muster does not
// boot have theirs, and somebody watches the packets. A kill in between loses nothing of it.
func TestMoving(t *testing.T) {
	s := newBare(t, nil)
	had, host, stranger := machineMAC(1), machineMAC(2), machineMAC(3)
	ip := netip.MustParseAddr
	s.configure(func(yaml string) string {
		return strings.Replace(yaml, "lease: 1h}", fmt.Sprintf("lease: 1h, hosts: [{mac: %s, address: 10.77.0.150, hostname: printer}]}", host), 1)
	})
	s.start()
	ends := time.Now().Add(time.Hour).Unix()
	file := filepath.Join(s.dir, "dnsmasq.leases")
	write(t, file, fmt.Sprintf("%d %s 10.77.0.177 nas *\nwhat is this\n%d %s 10.77.0.150 taken *\n", ends, had, ends, machineMAC(4)))
	if out := s.muster("lease", "import", "--dry-run", file); !strings.Contains(out, "dnsmasq: 1 imported, 1 in conflict, 1 not understood") || len(s.leases()) != 0 {
		t.Errorf("dry run: %s\nleases %+v", out, s.leases())
	}
	s.muster("lease", "import", file)
	s.kill()
	s.start()

	pcap := filepath.Join(s.dir, "moving.pcap")
	traced := s.trace("--all", "--write", pcap, "--count", "16")
	// Who wants an address that was imported for another machine is told no.
	wants := dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress([]byte{10, 77, 0, 177}))
	if a, err := s.lease(stranger, wants); err == nil || !strings.Contains(err.Error(), "address belongs to another machine") {
		t.Errorf("a stranger has %s, %v", a, err)
	}
	for _, want := range []struct {
		what string
		mac  [6]byte
		addr netip.Addr
		mods []dhcpv4.Modifier
	}{
		{"a machine of the other server", had, ip("10.77.0.177"), nil},
		{"a host", host, ip("10.77.0.150"), append([]dhcpv4.Modifier{dhcpv4.WithRequestedOptions(dhcpv4.OptionHostName)}, pxe...)},
		{"a machine that nobody knows", stranger, ip("10.77.0.100"), nil},
	} {
		if a, err := s.lease(want.mac, want.mods...); err != nil || a != want.addr {
			t.Errorf("%s has %s, %v, want %s", want.what, a, err, want.addr)
		}
	}
	if script := s.script(host, "10.77.0.150"); !strings.Contains(script, "starts from its own disk") {
		t.Errorf("the host's script:\n%s", script)
	}
	if nodes, err := s.client.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	said := traced()
	for _, want := range []string{fmt.Sprintf("%s  > ACK, 10.77.0.177, for 1h0m0s", had), fmt.Sprintf("%s  < DISCOVER, from firmware (PXE), arch 0", host), "as printer"} {
		if !strings.Contains(said, want) {
			t.Errorf("the trace does not say %q:\n%s", want, said)
		}
	}
	out, err := exec.Command("tcpdump", "-n", "-vv", "-r", pcap).Output()
	if err != nil || bytes.Count(out, []byte("udp sum ok")) != 16 || bytes.Contains(out, []byte("bad")) {
		t.Errorf("tcpdump: %v\n%s", err, out)
	}
	s.kill()
	s.start()
	for mac, a := range map[[6]byte]netip.Addr{had: ip("10.77.0.177"), host: ip("10.77.0.150"), stranger: ip("10.77.0.100")} {
		if got := s.holds(mac); got != a {
			t.Errorf("after a kill %x has %s, want %s", mac, got, a)
		}
	}
	if out := s.muster("lease", "release", "--yes", had.String()); !strings.Contains(out, "10.77.0.177 of "+had.String()+" released") {
		t.Errorf("release: %s", out)
	}
	if l, err := s.client.Leases(t.Context(), api.LeaseQuery{State: api.LeaseExpired}); err != nil || len(l) != 1 || l[0].MAC != had {
		t.Errorf("expired: %+v, %v", l, err)
	}
}

// trace runs muster node trace until it has all packets that it wants. It watches when trace returns; what it said is
// what the function that is returned waits for.
func (s *site) trace(args ...string) (said func() string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(work.bin, "muster"), append([]string{"--socket", s.socket, "node", "trace"}, args...)...)
	var out bytes.Buffer
	watching := &spotter{want: "watching", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &out, watching
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the program
	select {
	case <-watching.seen:
	case err := <-done:
		s.t.Fatalf("muster node trace: %v", err)
	}
	return func() string {
		if err := <-done; err != nil {
			s.t.Errorf("muster node trace: %v", errors.Join(err, ctx.Err()))
		}
		return out.String()
	}
}

// spotter closes seen when it was written a text.
type spotter struct {
	want string
	all  bytes.Buffer
	once sync.Once
	seen chan struct{}
}

// Write implements io.Writer.
func (s *spotter) Write(b []byte) (int, error) {
	s.all.Write(b)
	if strings.Contains(s.all.String(), s.want) {
		s.once.Do(func() { close(s.seen) })
	}
	return os.Stderr.Write(b)
}
