package doctor

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/dhcpd"
)

// detect is what `muster serve` has for Offers.
func detect(ctx context.Context, iface string) ([]Offer, error) {
	found, err := dhcpd.Detect(ctx, iface)
	var out []Offer
	for _, o := range found {
		out = append(out, Offer{o.Server, o.Address, o.BootFile, o.NextServer})
	}
	return out, err
}

// startDnsmasq starts a DHCP server on an interface ; it ends with the test.
func startDnsmasq(t *testing.T, iface, addresses string) error {
	cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--port=0", "--user=root",
		"--interface="+iface, "--bind-interfaces", "--dhcp-range="+addresses, "--no-ping", "--dhcp-authoritative",
		"--pid-file="+filepath.Join(t.TempDir(), "pid"), "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"))
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var said strings.Builder
	lines := bufio.NewScanner(io.TeeReader(log, &said))
	for lines.Scan() {
		if strings.Contains(lines.Text(), "sockets bound exclusively to interface") {
			go func() { _, _ = io.Copy(io.Discard, log) }() // ends with dnsmasq
			return nil
		}
	}
	return errors.New("dnsmasq: " + said.String())
}

func TestOtherDHCPServer(t *testing.T) {
	needRoot(t)
	needTool(t, "dnsmasq")
	inNamespace(t, func() {
		if err := startDnsmasq(t, "eth1p", "10.77.0.50,10.77.0.60,1h"); err != nil {
			t.Error(err)
			return
		}
		e := &Env{Interfaces: []string{"eth1"}, Offers: detect}
		compare(t, checkDHCP(t.Context(), e),
			want{"dhcp", Fail, "another DHCP server on eth1: 10.77.0.9 offers 10.77.0.", "switch it off"})
		e.Interfaces = []string{"eth3"}
		compare(t, checkDHCP(t.Context(), e), want{"dhcp", OK, "no other DHCP server on eth3", ""})
		e.Interfaces = []string{"eth2"}
		compare(t, checkDHCP(t.Context(), e), want{"dhcp", Warn, "could not look", "interface up"})
		// The same answers are no harm where they come from this server.
		e.Interfaces = []string{"eth1"}
		own := Offer{Server: netip.MustParseAddr("10.77.0.1"), Address: netip.MustParseAddr("10.77.0.100")}
		e.Offers = func(context.Context, string) ([]Offer, error) { return []Offer{own}, nil }
		compare(t, checkDHCP(t.Context(), e), want{"dhcp", OK, "no other DHCP server on eth1", ""})
	})
}

func TestNoOtherDHCPServer(t *testing.T) {
	answers := func(o []Offer, err error) *Env {
		return &Env{Interfaces: []string{"eth9"}, Offers: func(context.Context, string) ([]Offer, error) { return o, err }}
	}
	compare(t, checkDHCP(t.Context(), answers(nil, nil)), want{"dhcp", OK, "no other DHCP server on eth9", ""})
	compare(t, checkDHCP(t.Context(), answers(nil, errors.New("network is down"))), want{"dhcp", Warn, "network is down", "root"})
	o := Offer{Server: netip.MustParseAddr("192.0.2.1"), Address: netip.MustParseAddr("192.0.2.7")}
	compare(t, checkDHCP(t.Context(), answers([]Offer{o, o}, nil)), want{"dhcp", Fail, "192.0.2.1 offers 192.0.2.7", "switch it off"})
	heard := answers(nil, nil)
	heard.Heard = []Heard{{Interface: "eth9", Server: o.Server, By: "52:54:00:00:00:01", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, {Interface: "eth8"}}
	compare(t, checkDHCP(t.Context(), heard), want{"dhcp", Warn, "52:54:00:00:00:01, chose another DHCP server, 192.0.2.1, at 2026-03-01 12:00:00", "node trace 52:54:00:00:00:01"})
	heard.Offers = func(context.Context, string) ([]Offer, error) { return []Offer{o}, nil }
	compare(t, checkDHCP(t.Context(), heard), want{"dhcp", Fail, "192.0.2.1 offers 192.0.2.7", "switch it off"})
	proxy := Offer{Server: o.Server}
	compare(t, checkDHCP(t.Context(), answers([]Offer{proxy}, nil)), want{"dhcp", Fail, "a proxyDHCP server on eth9: 192.0.2.1", "switch it off"})
	compare(t, checkDHCP(t.Context(), &Env{Interfaces: []string{"eth9"}}))
}

// TestBesideAnotherServer: where somebody else gives the addresses, the other server is wanted.
func TestBesideAnotherServer(t *testing.T) {
	ip := netip.MustParseAddr
	gives := Offer{Server: ip("192.0.2.1"), Address: ip("192.0.2.7"), NextServer: ip("192.0.2.1")}
	boots, sends := gives, gives
	boots.BootFile, sends.BootFile, sends.NextServer = "pxelinux.0", "snponly.efi", ip("127.0.0.1")
	for _, tt := range []struct {
		name   string
		mode   DHCP
		offers []Offer
		want   []want
	}{
		{"proxy", DHCPProxy, []Offer{gives, gives}, []want{{"dhcp", OK, "the addresses on lo are given by 192.0.2.1, and this server says what to boot", ""}}},
		{"proxy, nobody there", DHCPProxy, nil, []want{{"dhcp", Fail, "no DHCP server answers on lo, and this one gives no addresses (dhcpd.mode: proxy)", "start the DHCP server"}}},
		{"proxy, it has a boot file", DHCPProxy, []Offer{boots}, []want{{"dhcp", OK, "given by 192.0.2.1", ""}, {"dhcp", Warn, `tells machines what to boot, too: "pxelinux.0"`, "nothing about booting"}}},
		{"proxy, another proxy", DHCPProxy, []Offer{gives, {Server: ip("192.0.2.3")}}, []want{{"dhcp", OK, "given by 192.0.2.1", ""}, {"dhcp", Warn, "192.0.2.3 on lo tells", "nothing about booting"}}},
		{"off", DHCPOff, []Offer{sends}, []want{{"dhcp", OK, "dhcpd.mode is off: this server answers no DHCP; on lo, 192.0.2.1 sends machines here, for snponly.efi", ""}}},
		{"off, it sends nobody", DHCPOff, []Offer{gives}, []want{{"dhcp", Warn, "no DHCP server on lo sends machines here", "next-server"}}},
		{"off, it sends them elsewhere", DHCPOff, []Offer{boots}, []want{{"dhcp", Warn, "no DHCP server on lo sends machines here", "next-server"}}},
		{"off, nobody there", DHCPOff, nil, []want{{"dhcp", Fail, "(dhcpd.mode: off)", "start the DHCP server"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &Env{Interfaces: []string{"lo"}, DHCP: tt.mode, Offers: func(context.Context, string) ([]Offer, error) { return tt.offers, nil }}
			compare(t, checkDHCP(t.Context(), e), tt.want...)
		})
	}
}

// TestBusyServer: a server that does not answer the first time does so the second time.
func TestBusyServer(t *testing.T) {
	asked := 0
	e := &Env{Interfaces: []string{"lo"}, DHCP: DHCPProxy, Offers: func(context.Context, string) ([]Offer, error) {
		if asked++; asked == 1 {
			return nil, nil
		}
		return []Offer{{Server: netip.MustParseAddr("192.0.2.1"), Address: netip.MustParseAddr("192.0.2.7")}}, nil
	}}
	compare(t, checkDHCP(t.Context(), e), want{"dhcp", OK, "given by 192.0.2.1", ""})
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
