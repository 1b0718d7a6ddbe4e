package dhcpd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

func route(to, via string) Route { return Route{netip.MustParsePrefix(to), ip(via)} }

func TestClassless(t *testing.T) {
	routes := []Route{route("10.90.0.0/16", "10.77.0.7"), route("10.91.128.0/17", "10.77.0.7"), route("169.254.169.254/32", "0.0.0.0")}
	const all = "10.90.0.0/16 10.77.0.7, 10.91.128.0/17 10.77.0.7, 169.254.169.254/32 0.0.0.0, 0.0.0.0/0 10.77.0.1"
	for _, tt := range []struct {
		name string
		ask  []byte
		want string // options 3, 121, 249
	}{
		{"as RFC 3442 says", []byte{1, 3, 33, 121}, "[] [" + all + "] []"},
		{"Windows, new", []byte{1, 3, 121, 249}, "[] [" + all + "] []"},
		{"Windows, old", []byte{1, 3, 249}, "[10.77.0.1] [] [" + all + "]"},
		{"who does not know them", []byte{1, 3}, "[10.77.0.1] [] []"},
		{"without a list", nil, "[10.77.0.1] [] []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.Subnets[0].Routes = routes
			var mod dhcpv4.Modifier = mods()
			if tt.ask != nil {
				mod = option(dhcpv4.OptionParameterRequestList, tt.ask...)
			}
			p := f.one(discover(mac(1), mod))
			var routers []netip.Addr
			for _, a := range p.Router() {
				routers = append(routers, addr(a))
			}
			got := fmt.Sprint(routers, " [", readRoutes(t, p.Options.Get(dhcpv4.OptionClasslessStaticRoute)), "] [", readRoutes(t, p.Options.Get(optionMSRoutes)), "]")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// readRoutes reads an option with the codec.
func readRoutes(t *testing.T, b []byte) string {
	t.Helper()
	if len(b) == 0 {
		return ""
	}
	var routes dhcpv4.Routes
	if err := routes.FromBytes(b); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for i, r := range routes {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "%s %s", r.Dest, r.Router)
	}
	return out.String()
}

// TestManyRoutes: more than one option holds (RFC 3396), and more than the client takes.
func TestManyRoutes(t *testing.T) {
	f := newFixture(t)
	for i := range 40 {
		f.Subnets[0].Routes = append(f.Subnets[0].Routes, route(fmt.Sprintf("10.%d.1.0/24", 100+i), "10.77.0.7"))
	}
	asks := option(dhcpv4.OptionParameterRequestList, 1, 3, 121)
	p := f.one(discover(mac(1), asks, size(1472)))
	want := f.Subnets[0].classless(nil)
	if got := p.Options.Get(dhcpv4.OptionClasslessStaticRoute); len(want) <= 255 || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of routes, want %d", len(got), len(want))
	}
	for i := range 40 {
		f.Subnets[0].Routes = append(f.Subnets[0].Routes, route(fmt.Sprintf("10.%d.2.0/24", 100+i), "10.77.0.7"))
	}
	p = f.one(discover(mac(1), asks))
	if p.Options.Has(dhcpv4.OptionClasslessStaticRoute) || len(p.Router()) != 1 || len(f.sent[0].data) > minMessage-ipUDPHeader {
		t.Errorf("%d bytes where the routes do not fit:\n%s", len(f.sent[0].data), p.Summary())
	}
}

func TestWrongRoutes(t *testing.T) {
	for _, r := range []Route{{}, route("10.90.0.1/16", "10.77.0.7"), route("10.90.0.0/16", "10.99.0.1"), route("10.90.0.0/16", "10.77.0.255"),
		route("0.0.0.0/0", "10.77.0.7"), route("2001:db8::/32", "10.77.0.7"), {To: netip.MustParsePrefix("10.90.0.0/16")}} {
		n := rackNet
		n.Routes = []Route{r}
		if err := checkSubnets([]Subnet{n}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", r, err)
		}
	}
	n := rackNet
	n.Routes = []Route{route("10.90.0.0/16", "10.77.0.1"), route("10.91.0.0/16", "0.0.0.0")}
	if err := checkSubnets([]Subnet{n}); err != nil {
		t.Error(err)
	}
}
