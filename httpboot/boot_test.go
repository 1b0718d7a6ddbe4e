package httpboot

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"muster/httpboot/agent"
)

// bootImage makes an image directory with web:7 in it.
func bootImage(t testing.TB) (images dirImages, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "web", "7")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dirImages(root), dir
}

// slirp is the address that QEMU's user network gives its machine.
var slirp = netip.MustParsePrefix("10.0.2.15/24")

func bootScriptFor(Machine) (Script, error) {
	return Script{
		Kind: Boot, Title: "web:7 as web-03", Kernel: "/images/web/7/vmlinuz", Initrd: "/images/web/7/initrd.img",
		Boot: "12", Token: "secret", Address: slirp, Gateway: netip.MustParseAddr("10.0.2.2"), Cmdline: "net.ifnames=0",
	}, nil
}

// A machine's own firmware and iPXE go through every script: the chain, a refusal, a wait, a kernel that
// is not there yet, and one that is.
func TestFirmwareFollowsScripts(t *testing.T) {
	for name, firmware := range firmwares(t) {
		t.Run(name, func(t *testing.T) { testScripts(t, name, firmware) })
	}
}

func testScripts(t *testing.T, platform string, firmware []string) {
	images, dir := bootImage(t)
	var asked, kernels atomic.Int32
	d := &fixedDirector{script: func(m Machine) (Script, error) {
		switch asked.Add(1) {
		case 1:
			return Script{}, &kindError{"no pool takes this machine || really", fs.ErrNotExist}
		case 2:
			return Script{Kind: Wait, Message: "place 3 in the queue ${nope}", Retry: time.Second}, nil
		}
		return bootScriptFor(m)
	}}
	url := serve(t, &Server{Director: d, Images: images, Observe: func(_ context.Context, f Fetch) {
		if f.Complete && f.MAC == "52:54:00:aa:00:01" && f.Boot == "12" && f.File == "web/7/vmlinuz" {
			kernels.Add(1)
		}
	}})
	v := startVM(t, url+"/ipxe", firmware)
	v.until("the wait on the screen", func() bool { return strings.Contains(v.console.String(), "waits: place 3 in the queue $(nope}") })
	v.until("the failed fetch on the screen", func() bool { return strings.Contains(v.console.String(), "that failed (try 1); again in 2 s") })
	// Now there is a kernel, but no initrd: a failure like another.
	if err := os.WriteFile(filepath.Join(dir, kernelFile), []byte("no kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.until("the kernel fetched", func() bool { return kernels.Load() > 0 })
	v.until("a later failure on the screen", func() bool { return strings.Contains(v.console.String(), "again in 6 s") })
	if !strings.Contains(v.console.String(), "no pool takes this machine | really") {
		t.Error("the Director's refusal is not on the screen")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.machines[0]
	if m.MAC != "52:54:00:aa:00:01" || m.Arch != "x86_64" || m.Platform != platform || m.UUID != "3f2b8a52-0000-4000-8000-525400aa0001" ||
		m.Manufacturer != "ACME & Söhne" || m.Product != "R2 ${nope}" || m.Serial != "S/N 4711 || x" || m.IP != slirp.Addr() || m.Base != url {
		t.Errorf("machine is %+v", m)
	}
	if again := d.machines[len(d.machines)-1]; again != sameCall(m, again) {
		t.Errorf("asked again, the machine is %+v, was %+v", again, m)
	}
}

// sameCall is m with what differs between two connections taken from n.
func sameCall(m, n Machine) Machine {
	m.Remote, m.Server = n.Remote, n.Server
	return m
}

// The whole chain up to the root: firmware, iPXE, Debian's kernel, muster-init, hello, long poll, spec, a
// new address, a root that cannot be mounted, and a restart with its reason.
func TestAgentBoots(t *testing.T) {
	all := firmwares(t)
	vmlinuz, release, root := debianKernel(t)
	images, dir := bootImage(t)
	if err := os.Symlink(vmlinuz, filepath.Join(dir, kernelFile)); err != nil {
		t.Fatal(err)
	}
	makeInitrd(t, filepath.Join(dir, initrdFile), release, root)
	for name, firmware := range all {
		t.Run(name, func(t *testing.T) { testAgent(t, images, release, firmware) })
	}
}

func testAgent(t *testing.T, images dirImages, release string, firmware []string) {
	spec := &agent.Spec{
		Hostname: "web-03", Address: netip.MustParsePrefix("10.0.2.33/24"), Gateway: netip.MustParseAddr("10.0.2.2"),
		Image: "web:7", Kernel: release, Now: time.Now(),
		Root: agent.Mount{Type: "nfs", Server: netip.MustParseAddr("10.0.2.2"), Path: "/none", Port: 1},
	}
	d := &fixedDirector{
		script: bootScriptFor,
		hello:  func(agent.Hello) (agent.Reply, error) { return agent.Reply{Wait: "nobody has assigned it"}, nil },
	}
	var polls atomic.Int32
	d.poll = func(context.Context, agent.Poll) (agent.Reply, error) {
		if polls.Add(1) == 1 {
			return agent.Reply{Spec: spec}, nil
		}
		return agent.Reply{Reboot: "somebody assigned it to ntp"}, nil
	}
	url := serve(t, &Server{Director: d, Images: images})
	v := startVM(t, url+"/ipxe", firmware)
	v.until("the machine off", func() bool {
		select {
		case <-v.exited:
			return true
		default:
			return false
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hellos[0]
	if h.MAC != "52:54:00:aa:00:01" || h.Token != "secret" || h.Kernel != release || h.Uptime <= 0 {
		t.Errorf("hello is %+v", h)
	}
	inv := h.Inventory
	if inv.Memory < 400 || inv.CPUs != 1 || inv.Serial != "S/N 4711 || x" || len(inv.NICs) != 1 || inv.NICs[0].Driver != "virtio_net" || !inv.NICs[0].Link {
		t.Errorf("inventory is %+v", inv)
	}
	var steps []string
	for _, ev := range d.events {
		t.Log(ev.Uptime, ev.Step, ev.Message, ev.Error)
		steps = append(steps, ev.Step)
	}
	if want := []string{"hello", "network", "root", "reboot"}; !slices.Equal(steps, want) {
		t.Errorf("steps are %q, want %q", steps, want)
	}
	if root := d.events[2]; !strings.Contains(root.Error, "mount 10.0.2.2:/none") {
		t.Errorf("the root's error is %q", root.Error)
	}
	for _, want := range []string{"waiting: nobody has assigned it", "eth0 has 10.0.2.33/24 (was 10.0.2.15/24)", "somebody assigned it to ntp", "restart in 5s"} {
		if !strings.Contains(v.console.String(), want) {
			t.Errorf("not on the console: %s", want)
		}
	}
}
