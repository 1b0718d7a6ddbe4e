package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// TestBootBesideDHCP boots machines until they serve where dnsmasq gives the addresses, and Muster tells them what to
// boot: a BIOS with iPXE in the ROM of its card, and a UEFI that asks on port 4011. One that boots by HTTP gets as far as
// its script.
func TestBootBesideDHCP(t *testing.T) {
	s := newSite(t)
	s.stop()
	leases := s.otherDHCP("")
	text := configYAML(filepath.Join(s.dir, "data"), s.socket, filepath.Join(s.dir, "lab.sock"))
	text = strings.Replace(text, "dhcpd:\n", "dhcpd:\n  mode: proxy\n", 1)
	write(t, filepath.Join(s.dir, "muster.yaml"), strings.Replace(text, "range: 10.77.0.100-10.77.0.199, ", "", 1))
	s.start()
	const want = "the addresses on br0 are given by 10.77.0.9, and this server says what to boot"
	if said, _ := s.try("doctor"); !strings.Contains(said, want) { // it may find other things
		t.Errorf("doctor does not say %q:\n%s", want, said)
	}

	bios := s.powerOn(rack.MachineSpec{Name: "bios", Firmware: rack.BIOS})
	uefi := s.powerOn(rack.MachineSpec{Name: "uefi", Firmware: rack.UEFI})
	n := s.servesBeside(bios, "10.77.0.20")
	if n.Pool != "web" {
		t.Errorf("the BIOS machine is in pool %q", n.Pool)
	}
	if page := s.get("http://10.77.0.20/"); page == "" {
		t.Error("it serves an empty page")
	}
	s.servesBeside(uefi, "10.77.0.30")
	s.loads(uefi, "UEFI firmware has 10.77.0.", "of the DHCP server 10.77.0.9", "loads snponly.efi")
	s.loads(uefi, "UEFI firmware has 10.77.0.1", ", loads snponly.efi")
	s.loads(uefi, "snponly.efi by TFTP")

	if err := uefi.Off(); err != nil {
		t.Fatal(err)
	}
	byHTTP := s.powerOn(rack.MachineSpec{Name: "http", Firmware: rack.UEFIHTTP})
	s.loads(byHTTP, "UEFI HTTP boot has 10.77.0.1", "of the DHCP server 10.77.0.9", "loads http://10.77.0.1:8080/nbp/snponly.efi")
	s.loads(byHTTP, "snponly.efi by HTTP")
	s.loads(byHTTP, "iPXE has 10.77.0.1", "of the DHCP server 10.77.0.9", "loads http://10.77.0.1:8080/ipxe")

	b, err := os.ReadFile(leases)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*rack.Machine{bios, uefi, byHTTP} {
		if !strings.Contains(string(b), m.MAC().String()) {
			t.Errorf("%s has no lease of the other server:\n%s", m.Name(), b)
		}
	}
	if out := s.muster("lease", "list"); out != "no leases\n" {
		t.Errorf("leases of a server that gives none:\n%s", out)
	}
	if out, err := s.try("lease", "release", "--yes", "10.77.0.140"); err == nil || !strings.Contains(out, "dhcpd.mode is proxy") {
		t.Errorf("release: %v\n%s", err, out)
	}
}

// TestBootWithoutDHCP boots a machine where Muster has no part in DHCP: the other server is told what docs/dhcp.md says.
func TestBootWithoutDHCP(t *testing.T) {
	b, err := os.ReadFile("../../docs/dhcp.md")
	if err != nil {
		t.Fatal(err)
	}
	_, conf, found := strings.Cut(string(b), "```text\n# dnsmasq")
	conf, _, ends := strings.Cut(conf, "```")
	if !found || !ends {
		t.Fatal("docs/dhcp.md does not say what dnsmasq is told")
	}
	s := newSite(t)
	s.stop()
	s.otherDHCP("# dnsmasq" + conf)
	text := configYAML(filepath.Join(s.dir, "data"), s.socket, filepath.Join(s.dir, "lab.sock"))
	write(t, filepath.Join(s.dir, "muster.yaml"), strings.Replace(text, "dhcpd:\n", "dhcpd:\n  mode: off\n", 1))
	s.start()
	const want = "dhcpd.mode is off: this server answers no DHCP; on br0, 10.77.0.9 sends machines here, for snponly.efi"
	if said, _ := s.try("doctor"); !strings.Contains(said, want) { // it may find other things
		t.Errorf("doctor does not say %q:\n%s", want, said)
	}
	m := s.powerOn(rack.MachineSpec{Firmware: rack.UEFI})
	n := s.waitReady(m.MAC().String(), "ntp-01")
	s.report(n.Slot, m)
}

// servesBeside waits until a machine serves at its slot's address, and checks that iPXE had one of the other server.
func (s *site) servesBeside(m *rack.Machine, slot string) roles.Node {
	s.t.Helper()
	n := s.wait(m.MAC().String(), "ready", func(n roles.Node) bool { return n.State == roles.StateReady })
	s.report(n.Slot, m)
	if n.Address != netip.MustParseAddr(slot) {
		s.t.Errorf("%s serves at %s, want its slot's %s", m.Name(), n.Address, slot)
	}
	s.loads(m, "iPXE has 10.77.0.1", "of the DHCP server 10.77.0.9", "loads http://10.77.0.1:8080/ipxe")
	return n
}

// otherDHCP runs dnsmasq in a network namespace of its own, plugged into the rack's switch, at 10.77.0.9. It says nothing
// about booting but what conf has. The file that it keeps its leases in is returned.
func (s *site) otherDHCP(conf string) (leases string) {
	s.t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		s.t.Skip("needs dnsmasq")
	}
	s.inside("ip", "netns", "add", "other")
	s.inside("ip", "link", "add", "other0", "type", "veth", "peer", "name", "eth0", "netns", "other")
	s.inside("ip", "link", "set", "other0", "master", rack.BridgeName, "up")
	s.inside("ip", "-n", "other", "addr", "add", "10.77.0.9/24", "dev", "eth0")
	s.inside("ip", "-n", "other", "link", "set", "eth0", "up")
	file := filepath.Join(s.dir, "other.conf")
	write(s.t, file, conf)
	leases = filepath.Join(s.dir, "other.leases")
	out := s.background("ip", "netns", "exec", "other", "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp",
		"--conf-file="+file, "--port=0", "--user=root", "--interface=eth0", "--bind-interfaces", "--dhcp-range=10.77.0.120,10.77.0.180,1h",
		"--dhcp-option=option:router,10.77.0.1", "--pid-file="+filepath.Join(s.dir, "other.pid"), "--dhcp-leasefile="+leases)
	for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "sockets bound exclusively"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("dnsmasq does not start:\n%s", out)
		}
	}
	return leases
}

// TestAnotherDHCP: what a server does that gives no addresses, beside one that does, and what it says about that.
func TestAnotherDHCP(t *testing.T) {
	s := newBare(t, nil)
	s.otherDHCP("")
	mode := func(name string) {
		s.configure(func(yaml string) string { return strings.Replace(yaml, "dhcpd:\n", "dhcpd:\n  mode: "+name+"\n", 1) })
		s.start()
	}
	ports := func() string { return s.run("ss", "-Hulpn", "sport = :67 or sport = :4011") }
	says := func(want string) {
		t.Helper()
		if said, _ := s.try("doctor"); !strings.Contains(said, want) { // other checks may fail: there are no images
			t.Errorf("doctor does not say %q:\n%s", want, said)
		}
	}
	mode("proxy")
	says("the addresses on br0 are given by 10.77.0.9, and this server says what to boot (dhcpd.mode: proxy)")
	if a, err := s.lease(machineMAC(1)); err != nil || a.Compare(netip.MustParseAddr("10.77.0.120")) < 0 || a.Compare(netip.MustParseAddr("10.77.0.180")) > 0 {
		t.Errorf("an operating system has %s, %v", a, err)
	}
	if n := s.metric("muster_dhcpd_drops_total"); n < 2 {
		t.Errorf("%v packets of it got no answer, want DISCOVER and REQUEST", n)
	}
	if nodes, err := s.client.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	if n := strings.Count(ports(), "muster"); n != 2 {
		t.Errorf("%d sockets, want those of ports 67 and 4011:\n%s", n, ports())
	}
	s.stop()

	mode("off")
	says("dhcpd.mode is off: this server answers no DHCP, and no DHCP server on br0 sends machines here")
	if open := ports(); strings.Contains(open, "muster") {
		t.Errorf("sockets of DHCP:\n%s", open)
	}
	if out, err := s.try("node", "trace", "--all"); err == nil || !strings.Contains(out, "there are no packets to show: dhcpd.mode is off") {
		t.Errorf("trace: %v\n%s", err, out)
	}
	if script := s.script(machineMAC(1), "10.77.0.120"); !strings.HasPrefix(script, "#!ipxe\n") {
		t.Errorf("the script:\n%s", script)
	}
}
