package trace

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"muster/dhcpd"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// message4 is a DHCPv4 message of machine 1.
func message4(t testing.TB, mods ...dhcpv4.Modifier) []byte {
	t.Helper()
	m := mac(1)
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(net.HardwareAddr(m[:])), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p.ToBytes()
}

func reply(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply }

// conversation is one packet of each kind that differs on the wire.
func conversation(t testing.TB) []dhcpd.Packet {
	t.Helper()
	m := mac(1)
	six, err := dhcpv6.NewSolicit(net.HardwareAddr(m[:]))
	if err != nil {
		t.Fatal(err)
	}
	six.TransactionID = dhcpv6.TransactionID{1, 2, 3}
	return []dhcpd.Packet{
		{MAC: m, In: true, From: ap("0.0.0.0:68"), To: ap("255.255.255.255:67"), Data: message4(t, dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover))},
		{MAC: m, From: ap("10.77.0.1:67"), To: ap("10.77.0.100:68"), Data: message4(t, reply, dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(net.IP{10, 77, 0, 100}))},
		{MAC: m, In: true, From: ap("10.99.0.1:67"), To: ap("10.77.0.1:67"), Data: message4(t, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithGatewayIP(net.IP{10, 99, 0, 1}))},
		{MAC: m, In: true, From: ap("0.0.0.0:68"), To: ap("255.255.255.255:67"), Data: []byte("odd"), Drop: "malformed"},
		{MAC: m, In: true, From: ap("[fe80::1]:546"), To: ap("[ff02::1:2]:547"), Data: six.ToBytes()},
		{MAC: m, From: ap("[fe80::2]:547"), To: ap("[fe80::1]:546"), Data: six.ToBytes()},
		{MAC: m, Data: []byte("without addresses: no frame")},
	}
}

// TestPCAP has tcpdump read the file: it checks every length and checksum.
func TestPCAP(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump: it reads the file")
	}
	var b bytes.Buffer
	p, err := NewPCAP(&b)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 8, 0, 0, 123456000, time.UTC)
	for i, one := range conversation(t) {
		if err := p.Write(Record{Time: at.Add(time.Duration(i) * time.Second), Packet: one}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tcpdump", "-n", "-e", "-vv", "-r", file)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tcpdump: %v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("bad")) || bytes.Count(out, []byte("udp sum ok")) != 6 {
		t.Errorf("checksums:\n%s", out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "08:00:0") || strings.Contains(line, " > ") || strings.HasPrefix(line, "DHCP-Message") {
			line, _, _ = strings.Cut(line, " (flowlabel")
			line, _, _ = strings.Cut(line, ", length")
			line, _, _ = strings.Cut(line, ": [udp sum")
			got = append(got, line)
		}
	}
	want := []string{
		"08:00:00.123456 52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype IPv4 (0x0800)",
		"0.0.0.0.68 > 255.255.255.255.67",
		"08:00:01.123456 02:00:0a:4d:00:01 > 52:54:00:00:00:01, ethertype IPv4 (0x0800)",
		"10.77.0.1.67 > 10.77.0.100.68",
		"08:00:02.123456 02:00:0a:63:00:01 > 02:00:0a:4d:00:01, ethertype IPv4 (0x0800)",
		"10.99.0.1.67 > 10.77.0.1.67",
		"08:00:03.123456 52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype IPv4 (0x0800)",
		"0.0.0.0.68 > 255.255.255.255.67",
		"08:00:04.123456 52:54:00:00:00:01 > 33:33:00:01:00:02, ethertype IPv6 (0x86dd)",
		"08:00:05.123456 02:00:00:00:00:02 > 52:54:00:00:00:01, ethertype IPv6 (0x86dd)",
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || strings.Contains(g, w)
		}
		if !found {
			t.Errorf("tcpdump does not say %q", w)
		}
	}
	if t.Failed() {
		t.Logf("it says\n%s", out)
	}
}

func TestFrameWithoutAddresses(t *testing.T) {
	for _, p := range []dhcpd.Packet{{}, {From: ap("10.0.0.1:67")}, {From: ap("10.0.0.1:67"), To: ap("[fe80::1]:547")}} {
		if f := Frame(p); f != nil {
			t.Errorf("%+v has the frame %x", p, f)
		}
	}
	mapped := dhcpd.Packet{MAC: mac(1), From: ap("[::ffff:10.0.0.1]:67"), To: ap("10.0.0.2:68"), Data: []byte("odd")}
	plain := mapped
	plain.From = ap("10.0.0.1:67")
	if d := cmp.Diff(Frame(plain), Frame(mapped)); d != "" {
		t.Errorf("an address of IPv4 in IPv6 (-plain +mapped):\n%s", d)
	}
}
