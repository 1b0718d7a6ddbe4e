package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const routed = `dhcpd:
  interfaces: [eth1]
  subnetSelection: true
  subnets:
  - {subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199, router: 10.77.0.1, rapidCommit: true, bootp: 720h, routes: [ROUTES]}
`

func TestRoutes(t *testing.T) {
	got, err := Parse([]byte(strings.Replace(routed, "ROUTES", "{to: 10.90.0.0/16, via: 10.77.0.7}, {to: 169.254.169.254/32, via: 0.0.0.0}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := []Route{{netip.MustParsePrefix("10.90.0.0/16"), addr("10.77.0.7")}, {netip.MustParsePrefix("169.254.169.254/32"), addr("0.0.0.0")}}
	s := got.DHCPD.Subnets[0]
	if d := cmp.Diff(want, s.Routes, equal...); d != "" || !s.RapidCommit || s.BOOTP != 720*time.Hour || !got.DHCPD.SubnetSelection {
		t.Errorf("%+v\n-want +got:\n%s", got.DHCPD, d)
	}
}

func TestWrongRoutes(t *testing.T) {
	for _, tt := range []struct{ routes, want string }{
		{"{via: 10.77.0.7}", "routes[0].to: not given"},
		{"{to: 10.90.0.0/16}", "routes[0].via: not given"},
		{"{to: 10.90.0.1/16, via: 10.77.0.7}", "did you mean 10.90.0.0/16?"},
		{"{to: 'fd77::/64', via: 10.77.0.7}", "is not an IPv4 network"},
		{"{to: 0.0.0.0/0, via: 10.77.0.7}", "that way is the router's, 10.77.0.1"},
		{"{to: 10.90.0.0/16, via: 10.99.0.7}", "routes[0].via: 10.99.0.7 is no machine of 10.77.0.0/24"},
		{"{to: 10.90.0.0/16, via: 10.77.0.255}", "10.77.0.255 is no machine"},
		{"{to: 10.90.0.0/16, via: 10.77.0.150}", "is in the range"},
		{"{to: 10.90.0.0/16, via: 10.77.0.7}, {to: 10.90.0.0/16, via: 10.77.0.8}", "routes[1].to: 10.90.0.0/16 is that of routes[0]"},
		{"{to: 10.90.0.0/16, by: 10.77.0.7}", "unknown key"},
	} {
		_, err := Parse([]byte(strings.Replace(routed, "ROUTES", tt.routes, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.routes, err, tt.want)
		}
	}
}
