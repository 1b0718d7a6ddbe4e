package radv

import (
	"context"
	"net/http"
	"net/netip"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"muster/dhcpd"
	"muster/dhcpd/lease"
)

// givesUp is how many solicitations iPXE sends before it believes that there is no router.
const givesUp = 6

// TestIPXEGoesOn boots iPXE, as QEMU's network card has it: the advertisement, empty as it is, ends its wait.
func TestIPXEGoesOn(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64: the ROM is x86")
	}
	if !inNamespace(t, "qemu-system-x86_64") {
		return
	}
	run(t, "sysctl", "-qw", "net.ipv6.conf.default.router_solicitations=0") // only iPXE is to be counted
	bridge(t)
	run(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "br0")
	run(t, "ip", "tuntap", "add", "tap0", "mode", "tap")
	run(t, "ip", "link", "set", "tap0", "up", "master", "br0")
	s := &Server{Answer: func(mac lease.MAC) bool { return mac == machine }}
	serving(t, s)
	serveDHCP(t)
	fetched := make(chan string, 10)
	web := &http.Server{Addr: "10.77.0.1:8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched <- r.URL.Path
		http.NotFound(w, r)
	})}
	go web.ListenAndServe() // until it is closed
	t.Cleanup(func() { web.Close() })
	qemu := exec.Command("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-display", "none", "-nodefaults",
		"-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n,mac="+machine.String())
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = qemu.Process.Kill(); _ = qemu.Wait() })
	select {
	case path := <-fetched:
		if path != "/script" {
			t.Errorf("it fetched %q", path)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("iPXE did not fetch its script")
	}
	if n := count(t, s.metrics.solicitations); n < 1 || n >= givesUp {
		t.Errorf("%v solicitations until it went on, want at least one and less than the %d after which it gives up", n, givesUp)
	}
}

// serveDHCP serves DHCP on br0 until the test ends.
func serveDHCP(t *testing.T) {
	t.Helper()
	d := &dhcpd.Server{
		Subnets: []dhcpd.Subnet{{Prefix: netip.MustParsePrefix("10.77.0.0/24"),
			Range: dhcpd.Range{First: netip.MustParseAddr("10.77.0.100"), Last: netip.MustParseAddr("10.77.0.199")}}},
		ScriptURL: func(*dhcpd.Request) string { return "http://10.77.0.1:8080/script" },
	}
	conn, err := d.Listen("br0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, conn) }() // ends when the test does
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
