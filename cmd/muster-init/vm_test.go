package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/httpboot"
	"muster/httpboot/agent"
	"muster/images"
	"muster/images/nfs/nfstest"
)

// The tests run in namespaces of their own, since nfs-ganesha has fixed names in /run.
func TestMain(m *testing.M) { os.Exit(nfstest.Main(m)) }

// rack is one machine's director: it says spec to everybody, and keeps the events.
type rack struct {
	mu     sync.Mutex
	spec   agent.Spec
	events []agent.Event
	// busy makes that many reports fail first, closed that many claims.
	busy, closed int
	// secrets answer each claim.
	secrets []agent.File
	claims  []agent.Claim
	// present answers a running node; nil has no orders.
	present func(context.Context, agent.Present) (agent.NodeOrders, error)
}

func (r *rack) Script(context.Context, httpboot.Machine) (httpboot.Script, error) {
	return httpboot.Script{}, nil
}

func (r *rack) reply() (agent.Reply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	spec := r.spec
	spec.Now = time.Now()
	return agent.Reply{Spec: &spec}, nil
}

func (r *rack) Hello(context.Context, netip.Addr, agent.Hello) (agent.Reply, error) { return r.reply() }

func (r *rack) Poll(context.Context, agent.Poll) (agent.Reply, error) { return r.reply() }

func (r *rack) Pair(context.Context, agent.PairCall) (any, error) { return nil, errors.ErrUnsupported }

func (r *rack) Report(_ context.Context, rep agent.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy--; r.busy >= 0 {
		return fmt.Errorf("the database is busy")
	}
	for _, ev := range rep.Events {
		if n := len(r.events); n == 0 || r.events[n-1].Seq < ev.Seq {
			r.events = append(r.events, ev)
		}
	}
	return nil
}

func (r *rack) seen(step string, failed bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(ev agent.Event) bool { return ev.Step == step && (ev.Error != "") == failed })
}

// fails waits for an event with an error that has the text.
func (r *rack) fails(t *testing.T, m *machine, deadline <-chan time.Time, text string) {
	t.Helper()
	there := func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.ContainsFunc(r.events, func(ev agent.Event) bool { return strings.Contains(ev.Error, text) })
	}
	for !there() {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-m.off:
			t.Fatalf("the machine went off before it said %q", text)
		case <-deadline:
			t.Fatalf("the machine does not say %q", text)
		}
	}
}

// change changes what the rack says.
func (r *rack) change(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// secureServer serves r, plainly and over TLS, until the test's end, and gives the ports and the pin.
func secureServer(t *testing.T, r *rack) (plain, secure int, pin string) {
	t.Helper()
	srv := &httpboot.Server{Director: r, Images: noImages{}}
	cert, err := httpboot.LoadCertificate(filepath.Join(t.TempDir(), "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if pin, err = httpboot.Pin(cert); err != nil {
		t.Fatal(err)
	}
	a, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := srv.ListenSecure("127.0.0.1:0", cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, ln := range []net.Listener{a, b} {
		background(t, func(ctx context.Context) error { return srv.Serve(ctx, ln) })
	}
	return a.Addr().(*net.TCPAddr).Port, b.Addr().(*net.TCPAddr).Port, pin
}

// log shows what happened, with the kernel's times.
func (r *rack) log(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		t.Log(ev.Uptime, ev.Step, ev.Message, ev.Error)
	}
}

// lockedBuffer is a console that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// imageTree makes a root file system with Debian's absolute symlinks.
func imageTree(t *testing.T, init string) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox: run make setup")
	}
	dir := t.TempDir()
	for _, d := range []string{"bin", "usr/sbin", "etc", "proc", "sys", "dev", "run", "var/log", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"bin/busybox": string(b), "usr/sbin/init": init, "etc/hostname": "nobody\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"sbin": "/usr/sbin", "var/run": "/run", "srv": "/data", "etc/resolv.conf": "/run/nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bootFiles gives Debian's kernel and an initrd with muster-init, as images makes it.
func bootFiles(t *testing.T) (kernel, initrd, release string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(cache, "muster-nfstest", "kernel") // nfstest.Main has put it there
	kernels, _ := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		t.Fatalf("%d kernels in %s, want 1", len(kernels), tree)
	}
	release = strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	bin := filepath.Join(t.TempDir(), "muster-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	initrd = filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := images.WriteInitrd(f, tree, release, images.KernelCloud, bin); err != nil {
		t.Fatal(err)
	}
	return kernels[0], initrd, release
}

// background runs fn until the test's end.
func background(t *testing.T, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// machine is a virtual one that is on.
type machine struct {
	console lockedBuffer
	// off is closed when it is off.
	off chan struct{}
}

// switchOn starts a machine with 512 MiB; it is off at the test's end.
func switchOn(t *testing.T, kernel, initrd, cmdline string) *machine {
	t.Helper()
	m := &machine{off: make(chan struct{})}
	cmd := exec.Command("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
		"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:aa:00:01", "-append", "console=ttyS0 quiet "+cmdline)
	cmd.Stdout, cmd.Stderr = &m.console, &m.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the machine
		cmd.Wait()
		close(m.off)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-m.off
		if t.Failed() {
			t.Logf("console:\n%s", m.console.String())
		}
	})
	return m
}

// shows fails the test for every text that is not on the console.
func (m *machine) shows(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(m.console.String(), text) {
			t.Errorf("not on the console: %q", text)
		}
	}
}

type noImages struct{}

func (noImages) Open(string, int, string) (*os.File, error) { return nil, os.ErrNotExist }

func (r *rack) Claim(_ context.Context, c agent.Claim) (agent.Claimed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed--; r.closed >= 0 {
		return agent.Claimed{}, fmt.Errorf("the database is busy")
	}
	r.claims = append(r.claims, c)
	return agent.Claimed{Files: r.secrets}, nil
}

func (r *rack) Present(ctx context.Context, p agent.Present) (agent.NodeOrders, error) {
	if r.present == nil {
		<-ctx.Done()
		return agent.NodeOrders{}, ctx.Err()
	}
	return r.present(ctx, p)
}
