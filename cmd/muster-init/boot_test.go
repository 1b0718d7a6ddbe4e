package main

import (
	"bytes"
	"context"
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
	"muster/images/nfs"
	"muster/images/nfs/nfstest"
)

// The tests run in namespaces of their own, since nfs-ganesha has fixed names in /run.
func TestMain(m *testing.M) { os.Exit(nfstest.Main(m)) }

// rack is one machine's director: it says spec to everybody, and keeps the events.
type rack struct {
	spec agent.Spec

	mu     sync.Mutex
	events []agent.Event
	// busy makes that many reports fail first.
	busy int
}

func (r *rack) Script(context.Context, httpboot.Machine) (httpboot.Script, error) {
	return httpboot.Script{}, nil
}

func (r *rack) reply() (agent.Reply, error) {
	spec := r.spec
	spec.Now = time.Now()
	return agent.Reply{Spec: &spec}, nil
}

func (r *rack) Hello(context.Context, netip.Addr, agent.Hello) (agent.Reply, error) { return r.reply() }

func (r *rack) Poll(context.Context, agent.Poll) (agent.Reply, error) { return r.reply() }

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

// imageInit is the image's /sbin/init: it shows what the agent has made.
const imageInit = `#!/bin/busybox sh
export PATH=/bin
busybox --install -s /bin
echo "init: pid $$ args $* host $(hostname) etc $(cat /etc/hostname)"
echo "init: hosts $(grep web-03 /etc/hosts)"
echo "init: resolv $(grep nameserver /etc/resolv.conf)"
echo "init: motd $(cat /etc/motd) $(stat -c %a /etc/motd)"
echo "init: root $(grep ' / ' /proc/mounts | tail -n 1)"
echo "init: left in initramfs $(ls /init /lib/modules 2>/dev/null)"
echo "init: address $(ip -4 addr show eth0 | grep inet)"
echo "init: gateway $(ip route | grep default)"
mkdir /var/log/web && echo "init: overlay is writable"
echo kept > /srv/www/new && cat /srv/www/old
echo x > /opt/ro/no || echo "init: ro volume refuses"
echo "init: log $(dmesg | grep -c 'muster: ')"
sync
reboot -f
`

// imageTree makes a root file system with Debian's absolute symlinks.
func imageTree(t *testing.T) string {
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
	for name, content := range map[string]string{"bin/busybox": string(b), "usr/sbin/init": imageInit, "etc/hostname": "nobody\n"} {
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

// A machine boots into a root on NFS: the export comes late, the server is busy at first, and everything
// that the spec says is there when the image's init starts.
func TestNodeTakesOver(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nfs-ganesha does")
	}
	for _, tool := range []string{"qemu-system-x86_64", "ganesha.nfsd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: run make setup", tool)
		}
	}
	tree, volume, readonly := imageTree(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "old"), []byte("init: the volume has its files\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	kernel, initrd, release := bootFiles(t)
	host := netip.MustParseAddr("10.0.2.2")
	r := &rack{busy: 3, spec: agent.Spec{
		Hostname: "web-03", Domain: "rack.example", Address: netip.MustParsePrefix("10.0.2.33/24"), Gateway: host,
		DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Image: "web:7", Kernel: release,
		Root: agent.Mount{Type: "nfs", Server: host, Path: tree, MountPort: 20048},
		Mounts: []agent.Mount{
			{Type: "nfs", Server: host, Path: volume, MountPort: 20048, Target: "/srv/www"},
			{Type: "nfs", Server: host, Path: readonly, MountPort: 20048, Target: "/opt/ro", ReadOnly: true},
		},
		Files: []agent.File{{Path: "/etc/motd", Mode: 0o600, Content: []byte("welcome\n")}},
	}}
	srv := &httpboot.Server{Director: r, Images: noImages{}}
	ln, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return srv.Serve(ctx, ln) })

	var console lockedBuffer
	dead := "http://10.0.2.2:1" // a boot server that is down
	cmd := exec.Command("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
		"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:aa:00:01",
		"-append", fmt.Sprintf("console=ttyS0 quiet single muster.server=%s,http://10.0.2.2:%d muster.mac=52-54-00-AA-00-01 muster.token=x muster.ip=10.0.2.15/24",
			dead, ln.Addr().(*net.TCPAddr).Port))
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	off := make(chan struct{})
	go func() { // ends with the machine
		cmd.Wait()
		close(off)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-off
		if t.Failed() {
			t.Logf("console:\n%s", console.String())
		}
	})
	deadline := time.After(3 * time.Minute)
	for !r.seen("root", true) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-off:
			t.Fatal("the machine went off before it tried to mount")
		case <-deadline:
			t.Fatal("no failed mount")
		}
	}
	ganesha := &nfs.Ganesha{Dir: t.TempDir()}
	clients := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	err = ganesha.Set(t.Context(), []nfs.Export{
		{Path: tree, ReadOnly: true, Clients: clients, NoRootSquash: true},
		{Path: volume, Clients: clients, NoRootSquash: true},
		{Path: readonly, Clients: clients, NoRootSquash: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, ganesha.Serve)
	select {
	case <-off:
	case <-deadline:
		t.Fatal("the machine did not come to its end")
	}

	for _, step := range []string{"hello", "network", "root", "mount", "files", "switch-root"} {
		if !r.seen(step, false) {
			t.Errorf("no event %s", step)
		}
	}
	for _, want := range []string{
		"init: pid 1 args single host web-03 etc web-03",
		"init: hosts 10.0.2.33 web-03.rack.example web-03",
		"init: resolv nameserver 10.0.2.3",
		"init: motd welcome 600",
		"init: root muster / overlay",
		"init: left in initramfs \r\n",
		"init: address     inet 10.0.2.33/24 brd 10.0.2.255 scope global eth0\r\n",
		"init: gateway default via 10.0.2.2 dev eth0 \r\n",
		"init: overlay is writable", "init: the volume has its files", "init: ro volume refuses",
		"muster: root: web:7 from 10.0.2.2:",
	} {
		if !strings.Contains(console.String(), want) {
			t.Errorf("not on the console: %q", want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(volume, "new")); string(b) != "kept\n" {
		t.Errorf("the volume has %q, %v", b, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range r.events {
		t.Log(ev.Uptime, ev.Step, ev.Message, ev.Error)
	}
}

type noImages struct{}

func (noImages) Open(string, int, string) (*os.File, error) { return nil, os.ErrNotExist }

func (r *rack) Claim(context.Context, agent.Claim) (agent.Claimed, error) {
	return agent.Claimed{}, nil
}

func (r *rack) Present(context.Context, agent.Present) (agent.NodeOrders, error) {
	return agent.NodeOrders{}, nil
}
