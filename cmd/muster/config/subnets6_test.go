package config

import (
	"strings"
	"testing"
	"time"
)

const with6 = `
dhcpd:
  interfaces: [eth1]
  subnets: [{subnet: 10.77.0.0/24, range: 10.77.0.128-10.77.0.254}]
  subnets6: [%]
`

func TestSubnets6(t *testing.T) {
	c, err := Parse([]byte(strings.ReplaceAll(with6, "%", "{subnet: fd77::/64, range: fd77::1000-fd77::1fff, advertise: true}")))
	if err != nil {
		t.Fatal(err)
	}
	s := c.DHCPD.Subnets6[0]
	if s.Subnet.String() != "fd77::/64" || s.Range.Last.String() != "fd77::1fff" || !s.Advertise || s.Lease != time.Hour {
		t.Errorf("read %+v", s)
	}
	for text, want := range map[string]string{
		"{subnet: 10.0.0.0/24}":                       "belongs into dhcpd.subnets",
		"{subnet: fd77::1/64}":                        "did you mean fd77::/64?",
		"{subnet: fd77::/48}":                         "want a network of /64 to /120",
		"{subnet: fd77::/64, range: fd77::9}":         "not a range of IPv6 addresses",
		"{subnet: fd77::/64, range: fd77::9-fd77::1}": "the last address is before the first",
		"{subnet: fd77::/64, range: fd78::1-fd78::2}": "not inside of fd77::/64",
		"{subnet: fd77::/64, range: fd77::-fd77::2}":  "every router's",
		"{subnet: fd77::/64, dns: [10.0.0.1]}":        "dns[0]",
		"{subnet: fd77::/64, lease: 1s}":              "too short",
		"{subnet: fd77::/64}, {subnet: fd77::/64}":    "overlaps dhcpd.subnets6[0]",
		"{subnet: fd77::/64, domain: a..b}":           "not a domain name",
		"{subnet: fd77::/64, advertised: true}":       "advertise",
		"{range: fd77::1-fd77::2}":                    "not given: the network",
	} {
		_, err := Parse([]byte(strings.ReplaceAll(with6, "%", text)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want something with %q", text, err, want)
		}
	}
}
