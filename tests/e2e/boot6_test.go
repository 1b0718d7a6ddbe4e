package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// TestBootOverIPv6 boots two machines whose firmware speaks IPv6 until they serve: one by HTTP, where Muster itself
// advertises that there is DHCPv6, and one by PXE, where a router does.
func TestBootOverIPv6(t *testing.T) {
	s := newSite(t)
	s.inside("ip", "addr", "add", "fd77::1/64", "dev", rack.BridgeName, "nodad")
	s.serve6("advertise: true")
	// This firmware tries HTTP over IPv4 first: there it finds no server.
	s.inside("nft", "add table inet boot6; add chain inet boot6 in { type filter hook input priority 0; }; "+
		"add rule inet boot6 in meta nfproto ipv4 tcp dport 8080 reject with tcp reset")
	byHTTP := s.powerOn(rack.MachineSpec{Name: "http6", Firmware: rack.UEFIHTTP})
	s.loads(byHTTP, "UEFI HTTP boot over IPv6 has fd77::", "loads http://[fd77::1]:8080/nbp/snponly.efi")
	s.loads(byHTTP, "snponly.efi by HTTP")
	s.inside("nft", "delete table inet boot6")
	s.serves6(byHTTP)

	s.serve6("advertise: false")
	s.router()
	byTFTP := s.powerOn(rack.MachineSpec{Name: "pxe6", Firmware: rack.UEFI6})
	s.serves6(byTFTP)
	s.loads(byTFTP, "UEFI firmware over IPv6 has fd77::", "loads tftp://[fd77::1]/snponly.efi")
	s.loads(byTFTP, "snponly.efi by TFTP")

	// What iPXE gets that has no other way: everything over IPv6, and the agent's server by IPv4.
	script := s.get("http://[fd77::1]:8080/ipxe?mac=52-54-00-4d-00-99&arch=x86_64&platform=efi&ip=10.77.0.150")
	for _, want := range []string{"http://[fd77::1]:8080/images/", " muster.server=http://10.77.0.1:8080 ", " muster.ip=10.77.0.150/24 "} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
}

// serve6 starts muster serve anew, with DHCPv6.
func (s *site) serve6(advertise string) {
	s.t.Helper()
	s.stop()
	text := configYAML(filepath.Join(s.dir, "data"), s.socket, filepath.Join(s.dir, "lab.sock"))
	write(s.t, filepath.Join(s.dir, "muster.yaml"), strings.Replace(text, "dhcpd:\n",
		"dhcpd:\n  subnets6: [{subnet: fd77::/64, dns: [fd77::1], domain: rack.example, "+advertise+"}]\n", 1))
	s.start()
}

// serves6 waits until a machine serves, and checks that its iPXE had the address of its firmware.
func (s *site) serves6(m *rack.Machine) {
	s.t.Helper()
	n := s.wait(m.MAC().String(), "ready", func(n roles.Node) bool { return n.State == roles.StateReady })
	s.report(n.Slot, m)
	s.loads(m, "iPXE over IPv6 has fd77::", "loads http://[fd77::1]:8080/ipxe")
	if ipxe, rom := s.address6(n.MAC, "iPXE"), s.address6(n.MAC, "UEFI"); ipxe != rom {
		s.t.Errorf("iPXE of %s has %s, its firmware had %s: want the same", n.MAC, ipxe, rom)
	}
}

// router advertises that addresses come by DHCPv6.
func (s *site) router() {
	s.t.Helper()
	if _, err := exec.LookPath("radvd"); err != nil {
		s.t.Skip("needs radvd")
	}
	s.inside("sysctl", "-qw", "net.ipv6.conf."+rack.BridgeName+".forwarding=1", "net.ipv6.conf.all.forwarding=1") // it insists
	conf := filepath.Join(s.dir, "radvd.conf")
	write(s.t, conf, "interface "+rack.BridgeName+` {
	AdvSendAdvert on; AdvManagedFlag on; AdvOtherConfigFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;
	prefix fd77::/64 { AdvOnLink on; AdvAutonomous off; };
};
`)
	s.background("radvd", "-n", "-m", "stderr", "-C", conf, "-p", filepath.Join(s.dir, "radvd.pid"))
}

// background runs a program in the rack's network until the test ends; what it says is shown if the test failed.
func (s *site) background(name string, args ...string) *screen {
	s.t.Helper()
	cmd := s.rack.Command(context.Background(), name, args...)
	out := new(screen)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, out)
		}
	})
	return out
}

// inside runs a program in the rack's network.
func (s *site) inside(name string, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if _, err := exec.LookPath(name); err != nil {
		s.t.Skip("needs " + name)
	}
	if out, err := s.rack.Command(ctx, name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// timeline gives what a machine's last boot says so far.
func (s *site) timeline(mac roles.MAC) []roles.Event {
	b, err := s.client.Boot(s.t.Context(), mac.String(), 0)
	if err != nil {
		return nil // it is not known yet
	}
	return b.Events
}

// loads waits until a machine's boot has an event with all of texts.
func (s *site) loads(m *rack.Machine, texts ...string) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
	events:
		for _, e := range s.timeline(m.MAC()) {
			for _, text := range texts {
				if !strings.Contains(e.Message, text) {
					continue events
				}
			}
			return
		}
	}
	s.t.Fatalf("%s has no event with %q", m.Name(), texts)
}

// address6 gives the IPv6 address that a program of a machine got, by the timeline of its last boot.
func (s *site) address6(mac roles.MAC, program string) string {
	for _, e := range s.timeline(mac) {
		_, rest, ok := strings.Cut(e.Message, " over IPv6 has ")
		if ok && e.Step == roles.StepLease && strings.HasPrefix(e.Message, program) {
			a, _, _ := strings.Cut(rest, ",")
			return a
		}
	}
	return "none"
}
