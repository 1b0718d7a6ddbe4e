package library

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"muster/roles"
	"muster/roles/health"
)

// healthy waits until the role's own check passes, from where the boot server is.
func (x *node) healthy() {
	x.t.Helper()
	n := roles.Node{Address: netip.MustParseAddr(x.address)}
	x.eventually("health of "+x.name, func() error {
		return x.rack.Inside(func() error { return health.Checker{}.Check(context.Background(), *x.role.Health, n) })
	})
}

// TestNTP: two nodes with no server above find out who leads; they believe each other by their key.
func TestNTP(t *testing.T) {
	s := newSite(t, "ntp", "{}")
	first, second := s.start(1), s.start(2)
	first.verify()
	for _, x := range []*node{first, second} {
		x.run("mkdir", "-m", "700", "/run/chrony")
		x.run("chown", "_chrony:_chrony", "/run/chrony", "/var/lib/chrony")
		x.daemon("chronyd", "-d", "-x")
	}
	for _, x := range []*node{first, second} {
		x.healthy()
		// Both are at stratum 10 until they have heard each other.
		x.eventually("time from "+x.name, func() error {
			out, err := s.client("chronyd", "-Q", "-t", "10", "-f", "/dev/null", "server "+x.address+" iburst maxsamples 1")
			if err == nil && !strings.Contains(out, "System clock wrong by") {
				err = fmt.Errorf("no time in %s", out)
			}
			return err
		})
	}
	for _, x := range []*node{first, second} {
		x.eventually("authenticated peer of "+x.name, func() error {
			out, err := x.try("chronyc", "-n", "ntpdata")
			if err == nil && (!strings.Contains(out, "Authenticated   : Yes") || strings.Contains(out, "Total valid RX  : 0\n")) {
				err = fmt.Errorf("%s", out)
			}
			return err
		})
	}
}
