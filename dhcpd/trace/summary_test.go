package trace

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"muster/dhcpd"
)

func TestSummary(t *testing.T) {
	server := net.IP{10, 77, 0, 1}
	address := net.IP{10, 77, 0, 100}
	with := dhcpv4.WithOption
	for _, tt := range []struct {
		want string
		drop string
		mods []dhcpv4.Modifier
	}{
		{"DISCOVER, from firmware (PXE), arch 7 (EFI x86-64), tries for 4s, xid 01020304", "", []dhcpv4.Modifier{
			dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover), with(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007")),
			with(dhcpv4.OptClientArch(iana.EFI_X86_64)), func(p *dhcpv4.DHCPv4) { p.NumSeconds = 4 }}},
		{"OFFER, 10.77.0.100, for 1h0m0s, as web-01, loads snponly.efi, from server 10.77.0.1, xid 01020304", "", []dhcpv4.Modifier{reply,
			dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(address), dhcpv4.WithLeaseTime(3600), with(dhcpv4.OptHostName("web-01")),
			with(dhcpv4.OptServerIdentifier(server)), func(p *dhcpv4.DHCPv4) { p.BootFileName = "snponly.efi" }}},
		{"REQUEST, for 10.77.0.100, of server 10.77.0.9, from iPXE, calls itself \"x\\x1b[0m\", xid 01020304, NOT ANSWERED: other-server (the machine chose another DHCP server: there is one on this network)", "other-server", []dhcpv4.Modifier{
			dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), with(dhcpv4.OptRequestedIPAddress(address)), with(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 9})),
			with(dhcpv4.OptGeneric(optIPXE, []byte{1})), with(dhcpv4.OptHostName("x\x1b[0m"))}},
		{"NAK, because: address belongs to another machine, from server 10.77.0.1, by the relay 10.99.0.1, xid 01020304", "", []dhcpv4.Modifier{reply,
			dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), with(dhcpv4.OptMessage("address belongs to another machine")), with(dhcpv4.OptServerIdentifier(server)),
			dhcpv4.WithGatewayIP(net.IP{10, 99, 0, 1})}},
		{"RELEASE, has 10.77.0.100, from \"udhcp 1.35\", xid 01020304", "", []dhcpv4.Modifier{
			dhcpv4.WithMessageType(dhcpv4.MessageTypeRelease), dhcpv4.WithClientIP(address), with(dhcpv4.OptClassIdentifier("udhcp 1.35"))}},
		{"BOOTP BootRequest, from an operating system, xid 01020304, NOT ANSWERED: new-reason", "new-reason", nil},
	} {
		if d := cmp.Diff(tt.want, Summary(dhcpd.Packet{Data: message4(t, tt.mods...), Drop: tt.drop})); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	talk := conversation(t)
	if got := Summary(talk[4]); got != "SOLICIT, xid 010203" {
		t.Errorf("DHCPv6: %s", got)
	}
	if got := Summary(talk[3]); !strings.HasPrefix(got, "3 bytes that are no DHCP packet (") || !strings.Contains(got, "malformed (this is no DHCP packet") {
		t.Errorf("garbage: %s", got)
	}
}

// TestReasonsAreExplained: a reason that dhcpd has is one that people understand.
func TestReasonsAreExplained(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`drop[A-Z]\w* +drop += "([a-z-]+)"`).FindAllSubmatch(b, -1) {
			found++
			if why := string(m[1]); Explain(why) == why {
				t.Errorf("%s: %q has no explanation", f, why)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d reasons found", found)
	}
}

func TestDetails(t *testing.T) {
	talk := conversation(t)
	got := strings.Join(Details(talk[1]), "\n")
	for _, want := range []string{"10.77.0.1:67 > 10.77.0.100:68, ", "  your IP: 10.77.0.100", "    DHCP Message Type: OFFER"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if got := Details(talk[3]); len(got) != 2 || !strings.Contains(got[1], "|odd|") {
		t.Errorf("garbage: %q", got)
	}
	if got := strings.Join(Details(talk[4]), "\n"); !strings.Contains(got, "SOLICIT") {
		t.Errorf("DHCPv6: %s", got)
	}
	if Way(talk[0]) != "<" || Way(talk[1]) != ">" || Clock(time.Date(2026, 3, 1, 8, 0, 0, 1999999, time.UTC)) != "08:00:00.001" {
		t.Error("direction or time")
	}
}

// FuzzPacket: a machine may send anything.
func FuzzPacket(f *testing.F) {
	for _, p := range conversation(f) {
		f.Add(p.Data, p.To.Addr().Is6())
	}
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		p := dhcpd.Packet{MAC: mac(1), From: ap("10.0.0.1:68"), To: ap("10.0.0.2:67"), Data: b}
		if six {
			p.From, p.To = ap("[fe80::1]:546"), ap("[fe80::2]:547")
		}
		if s := Summary(p); s == "" {
			t.Error("no summary")
		}
		if d := Details(p); len(d) < 1 {
			t.Error("no details")
		}
		if n := len(Frame(p)); n != 14+map[bool]int{false: 20, true: 40}[six]+8+len(b) {
			t.Errorf("the frame has %d bytes", n)
		}
	})
}
