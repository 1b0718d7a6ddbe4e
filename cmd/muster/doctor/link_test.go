package doctor

import (
	"net/netip"
	"slices"
	"testing"
)

func TestInterfaces(t *testing.T) {
	inNamespace(t, func() {
		e := &Env{Interfaces: []string{"eth1", "eth2", "eth3", "eth9"}, Subnets: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24")}}
		compare(t, checkInterfaces(t.Context(), e),
			want{"interface", OK, "eth1 is up with 10.77.0.1", ""},
			want{"interface", Fail, "eth2 is down", "ip link set eth2 up"},
			want{"interface", Fail, "eth3 has no IPv4 address", "ip addr add 10.77.0.1/24 dev eth3"},
			want{"interface", Fail, "no interface eth9", "ip link"})
		e = &Env{Interfaces: []string{"eth1"}, Subnets: []netip.Prefix{netip.MustParsePrefix("10.78.0.0/24")}}
		compare(t, checkInterfaces(t.Context(), e), want{"interface", Warn, "no address of eth1 is in a configured subnet", "10.78.0.1/24"})
	})
}

func TestTargets(t *testing.T) {
	inNamespace(t, func() {
		e := &Env{Interfaces: []string{"eth1", "eth3"}}
		for listen, want := range map[string][]string{
			":69": {"10.77.0.1:69"}, "0.0.0.0:69": {"10.77.0.1:69"}, "127.0.0.1:69": {"127.0.0.1:69"}, "x": nil,
		} {
			if got := e.targets(listen); !slices.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", listen, got, want)
			}
		}
	})
}
