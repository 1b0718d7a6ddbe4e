package config

import (
	"strings"
	"testing"
)

func TestMode(t *testing.T) {
	with := func(mode, subnet string) string {
		return "dhcpd:\n  interfaces: [eth1]\n  subnets: [{subnet: 10.77.0.0/24" + subnet + "}]\n" + mode
	}
	const ranged = ", range: 10.77.0.100-10.77.0.199"
	for _, tt := range []struct {
		name, text string
		addresses  bool
		want       string // of the error; "" for none
	}{
		{"none", with("", ranged), true, ""},
		{"server", with("  mode: server\n", ranged), true, ""},
		{"server without a range", with("  mode: server\n", ""), false, "dhcpd.subnets[0].range: not given"},
		{"proxy", with("  mode: proxy\n", ""), false, ""},
		{"proxy, and the other server's range", with("  mode: proxy\n", ranged), false, ""},
		{"proxy, and a wrong range", with("  mode: proxy\n", ", range: 10.78.0.1-10.78.0.9"), false, "is not inside of 10.77.0.0/24"},
		// off is a word to people, though YAML 1.1 had it as a boolean.
		{"off", with("  mode: off\n", ""), false, ""},
		{"off, but DHCPv6", with("  mode: off\n  subnets6: [{subnet: 'fd77::/64'}]\n", ""), false, "dhcpd.subnets6: dhcpd.mode off opens no DHCP socket"},
		{"unknown", with("  mode: proxi\n", ""), false, `dhcpd.mode: "proxi" is not one of server, proxy, off; did you mean "proxy"?`},
	} {
		c, err := Parse([]byte(tt.text))
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case err == nil && c.DHCPD.Addresses() != tt.addresses:
			t.Errorf("%s: gives addresses: %v", tt.name, c.DHCPD.Addresses())
		}
	}
}
