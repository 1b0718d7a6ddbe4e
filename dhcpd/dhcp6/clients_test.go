package dhcp6

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease6"
)

// patience is how long a test waits for something that has to happen. Nothing waits for it to pass.
const patience = time.Minute

// inNamespace runs the calling test once more in a process of its own, in network and mount namespaces that end with
// it. It returns true there, and false, when that is over, in the outer process.
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
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

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// box is a machine in a namespace of its own, whose eth0 is wired to srv0 here.
type box struct {
	*testing.T
	pid int // of the process that holds the namespace
	dir string
}

func newBox(t *testing.T) *box {
	t.Helper()
	hold := exec.Command("sleep", "infinity")
	hold.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Process.Kill(); _ = hold.Wait() })
	b := &box{t, hold.Process.Pid, t.TempDir()}
	run(t, "ip", "link", "add", "srv0", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(b.pid))
	run(t, "ip", "addr", "add", "fd77::1/64", "dev", "srv0", "nodad")
	run(t, "ip", "link", "set", "srv0", "up")
	b.run("ip", "link", "set", "lo", "up")
	b.run("ip", "link", "set", "eth0", "address", mac(1).String())
	b.run("ip", "link", "set", "eth0", "up")
	await(t, "the link-local address of eth0", func() bool {
		out := b.run("ip", "-6", "addr", "show", "dev", "eth0")
		return strings.Contains(out, "fe80:") && !strings.Contains(out, "tentative")
	})
	return b
}

func (b *box) commandContext(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(b.pid), "-n"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (b *box) run(args ...string) string {
	b.Helper()
	out, err := b.commandContext(context.Background(), args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (b *box) file(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, text string) string {
	b.Helper()
	if err := os.WriteFile(b.file(name), []byte(text), 0o755); err != nil {
		b.Fatal(err)
	}
	return b.file(name)
}

// during runs a client while f does; what it prints is shown if the test failed.
func (b *box) during(f func(), args ...string) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.commandContext(ctx, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second // it may not want to end, or have children that hold its output
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
		if b.Failed() {
			b.Logf("%s:\n%s", strings.Join(args, " "), &out)
		}
	})
	b.Cleanup(stop)
	f()
	stop()
}

// live is a Server on srv0.
type live struct {
	*testing.T
	*Server
	events chan Event
}

func serve(t *testing.T) *live {
	t.Helper()
	s := &live{T: t, events: make(chan Event, 10000)}
	s.Server = &Server{Subnets: []Subnet{rackNet}, Leases: new(lease6.Table), Observe: func(e Event) { s.events <- e },
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	conn, err := s.Listen("srv0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }() // ends when the test does
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	})
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

// has waits until a file names an address.
func (b *box) has(file string, a netip.Addr) {
	b.Helper()
	await(b.T, file+" with "+a.String(), func() bool {
		text, _ := os.ReadFile(b.file(file))
		return bytes.Contains(text, []byte(a.String()))
	})
}

// TestDhclient: ISC's client, by both kinds of DUID, asks, renews, confirms and releases.
func TestDhclient(t *testing.T) {
	if !inNamespace(t, "dhclient") {
		return
	}
	b, s := newBox(t), serve(t)
	var had netip.Addr
	for _, kind := range []string{"LL", "LLT"} {
		script := b.write("script", "#!/bin/sh\necho \"$reason $new_ip6_address $new_dhcp6_name_servers $new_dhcp6_domain_search\" >>"+b.file(kind)+"\n")
		files := []string{"-sf", script, "-lf", b.file("leases." + kind), "-pf", b.file("pid"), "-D", kind, "eth0"}
		b.during(func() {
			e := s.wait(Leased)
			b.has(kind, e.Addr)
			if e.Request.Key != lease6.ByMAC(mac(1)) || had.IsValid() && e.Addr != had {
				t.Errorf("by DUID-%s: %s has %s, had %s", kind, e.Request.Key, e.Addr, had)
			}
			had = e.Addr
			text, _ := os.ReadFile(b.file(kind))
			if !bytes.Contains(text, []byte("BOUND6 "+had.String()+" fd77::53 rack.example")) {
				t.Errorf("dhclient was told:\n%s", text)
			}
		}, append([]string{"dhclient", "-6", "-d"}, files...)...)
		b.during(func() { // a restart: it remembers its lease
			if e := s.wait(Confirmed); e.Request.Type != dhcpv6.MessageTypeConfirm {
				t.Errorf("got %s", e.Request.Type)
			}
		}, append([]string{"dhclient", "-6", "-d"}, files...)...)
		b.during(func() { s.wait(Released) }, append([]string{"dhclient", "-6", "-d", "-r"}, files...)...)
	}
}

// TestDhcpcd: dhcpcd, whose link-local address says nothing of its MAC, gets the address of its MAC by its DUID.
func TestDhcpcd(t *testing.T) {
	if !inNamespace(t, "dhcpcd") {
		return
	}
	for _, dir := range []string{"/var/lib/dhcpcd", "/run"} { // it keeps its DUID and its sockets there
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("none", dir, "tmpfs", 0, "")); err != nil {
			t.Fatal(err)
		}
	}
	b, s := newBox(t), serve(t)
	conf := b.write("conf", "duid\nnoipv4\nnoipv6rs\nslaac private\nia_na\noption dhcp6_name_servers\n")
	script := b.write("script", "#!/bin/sh\nenv >>"+b.file("log")+"\n")
	b.during(func() {
		e := s.wait(Leased)
		if _, mac := e.Request.Key.MAC(); !mac {
			t.Errorf("the client is %s", e.Request.Key)
		}
		await(t, "the address on eth0", func() bool {
			return strings.Contains(b.run("ip", "-6", "addr", "show", "dev", "eth0"), e.Addr.String())
		})
	}, "dhcpcd", "-B", "-f", conf, "-c", script, "eth0")
}

// TestListenFaults: what cannot be served is told at the start.
func TestListenFaults(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	newBox(t)
	s := &Server{Subnets: []Subnet{rackNet}}
	if _, err := s.Listen("nothing0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no interface: %v", err)
	}
	first, err := s.Listen("srv0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen("srv0"); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second server: %v", err)
	}
	first.Close()
	run(t, "sysctl", "-qw", "net.ipv6.conf.srv0.disable_ipv6=1")
	if _, err := s.Listen("srv0"); err == nil || !strings.Contains(err.Error(), "disable_ipv6") {
		t.Errorf("without IPv6: %v", err)
	}
}
