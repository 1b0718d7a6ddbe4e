package serve

import (
	"errors"
	"io/fs"
	"net/netip"
	"testing"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/dhcpd/dhcp6"
	"muster/dhcpd/lease"
	"muster/httpboot"
	"muster/roles"
)

func sixServer() *server {
	c := config.Default()
	s := &server{Options: Options{Config: c}}
	s.networks = []network{{Server: netip.MustParseAddr("10.77.0.1"), Subnet: dhcpd.Subnet{Prefix: netip.MustParsePrefix("10.77.0.0/24")}}}
	return s
}

// TestBootAddress: a machine that loads over IPv6 goes on with its IPv4 address, and its agent with this server's.
func TestBootAddress(t *testing.T) {
	s := sixServer()
	for name, x := range map[string]struct {
		remote, ip, want, agent string
	}{
		"IPv4":                     {"10.77.0.100", "", "10.77.0.100", ""},
		"IPv4 that it says":        {"10.77.0.100", "10.77.0.101", "10.77.0.101", ""},
		"IPv4 of elsewhere":        {"10.77.0.100", "10.99.0.1", "10.77.0.100", ""},
		"IPv6":                     {"fd77::1:2", "10.77.0.101", "10.77.0.101", "http://10.77.0.1:8080"},
		"IPv6 alone":               {"fd77::1:2", "", "", ""},
		"IPv6, IPv4 of elsewhere":  {"fd77::1:2", "10.99.0.1", "", ""},
		"IPv4 of an unknown place": {"10.99.0.1", "10.77.0.101", "", ""},
	} {
		m := httpboot.Machine{Remote: netip.MustParseAddr(x.remote)}
		m.IP, _ = netip.ParseAddr(x.ip)
		a, n, err := s.bootAddress(m)
		switch {
		case x.want == "":
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: %v, %v; want an fs.ErrInvalid", name, a, err)
			}
		case err != nil || a.String() != x.want || s.agentURL(m, n) != x.agent:
			t.Errorf("%s: %v, agent %q, %v; want %s and %q", name, a, s.agentURL(m, n), err, x.want, x.agent)
		}
	}
}

func TestURLs6(t *testing.T) {
	s := sixServer()
	r := &dhcp6.Request{Server: netip.MustParseAddr("fd77::1"), MAC: lease.MAC{2, 0, 0, 0, 0, 9}}
	urls := func() [3]string {
		return [3]string{s.fileURL6(r, "a.efi", false), s.fileURL6(r, "a.efi", true), s.scriptURL6(r)}
	}
	if got, want := urls(), [3]string{"tftp://[fd77::1]/a.efi", "http://[fd77::1]:8080/nbp/a.efi", "http://[fd77::1]:8080/ipxe"}; got != want {
		t.Errorf("URLs %q, want %q", got, want)
	}
	s.Config.TFTPD.Listen = ":6969"
	if got, want := s.fileURL6(r, "a.efi", false), "tftp://[fd77::1]:6969/a.efi"; got != want {
		t.Errorf("URL %q, want %q", got, want)
	}
	s.hosts = hostsOf([]config.Subnet{{Hosts: []config.Host{{MAC: roles.MAC(r.MAC)}}}})
	if got := urls(); got != [3]string{} {
		t.Errorf("a host that Muster does not boot is told %q", got)
	}
}
