package dhcpd

import (
	"bytes"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// rfcCases are the answers that a subnet gives only where it is told to, and what relays ask for.
func rfcCases() []goldenCase {
	slot := Host{Address: ip("10.77.0.20"), Hostname: "web-01"}
	rich := func(s *Server) {
		n := &s.Subnets[0]
		n.RapidCommit, n.BOOTP = true, 48*time.Hour
		n.Routes = []Route{route("10.90.0.0/16", "10.77.0.7"), route("169.254.169.254/32", "0.0.0.0")}
		s.SubnetSelection = true
	}
	windows := option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 249, 252)
	long := option(dhcpv4.OptionClientIdentifier, append([]byte{255}, bytes.Repeat([]byte{7}, 180)...)...)
	far := ip("192.0.2.1")
	return []goldenCase{
		{name: "rapid-commit", set: rich, in: discover(mac(1), dhclient, option(dhcpv4.OptionRapidCommit))},
		{name: "bootp-fixed", host: slot, in: bootp(mac(1))},
		{name: "bootp-dynamic", set: rich, in: bootp(mac(1))},
		{name: "bootp-unknown", in: bootp(mac(1))},
		{name: "bootp-relay", host: slot, in: bootp(mac(1), relayedBy(ip("10.77.0.9")), option82()), from: "10.77.0.9:67", to: "10.77.0.1"},
		{name: "routes", set: rich, host: slot, in: discover(mac(1), dhclient)},
		{name: "routes-windows-xp", set: rich, host: slot, in: discover(mac(1), windows)},
		{name: "overload", set: func(s *Server) { rich(s); s.Subnets[0].Domain = strings.Repeat("d", 60) + ".example" },
			host: slot, in: discover(mac(1), dhclient, long)},
		{name: "link-selection", in: discover(mac(1), relayedBy(far), agent(5, 10, 78, 0, 0)), from: "192.0.2.1:67", to: "10.77.0.1"},
		{name: "server-override", in: discover(mac(1), relayedBy(ip("10.78.0.1")), agent(11, 10, 78, 0, 1)), from: "10.78.0.1:67", to: "10.77.0.1"},
		{name: "subnet-selection", set: rich, in: discover(mac(1), option(dhcpv4.OptionSubnetSelection, 10, 78, 0, 0))},
	}
}
