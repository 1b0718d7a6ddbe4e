package lease6

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/dhcpd/lease"
)

var (
	now   = time.Unix(1_700_000_000, 0)
	one   = ByMAC(lease.MAC{0x52, 0x54, 0, 0, 0, 1})
	two   = ByClient([]byte{0, 4, 1, 2, 3}, [4]byte{1, 2, 3, 4}, lease.MAC{})
	addr1 = netip.MustParseAddr("fd77::1:1")
	addr2 = netip.MustParseAddr("fd77::1:2")
)

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestApply(t *testing.T) {
	var table Table
	a := Lease{Key: one, Addr: addr1, Expires: now.Add(time.Hour)}
	b := Lease{Key: two, Addr: addr2, Expires: now.Add(-time.Hour), Unknown: true}
	table.Apply([]Lease{b, a, {Addr: addr1}, {Key: one}, {Key: one, Addr: netip.MustParseAddr("10.0.0.1")}}, nil)
	equal(t, "all", table.All(), []Lease{a, b})
	equal(t, "unknown", table.Unknown(), 1)
	equal(t, "expired", table.Expired(now), []Key{two})
	equal(t, "expired later", table.Expired(now.Add(2*time.Hour)), []Key{two, one})

	moved := Lease{Key: one, Addr: addr2, Expires: now.Add(time.Hour)}
	table.Apply([]Lease{moved}, nil) // displaces two, and one's own
	equal(t, "all after a move", table.All(), []Lease{moved})
	equal(t, "unknown after a move", table.Unknown(), 0)
	if _, ok := table.ByAddr(addr1); ok {
		t.Error("the address that was left still has a lease")
	}
	table.Apply(nil, []Key{one, two})
	equal(t, "len", table.Len(), 0)
	equal(t, "addresses", len(table.addrs), 0)
}

func TestKey(t *testing.T) {
	for _, k := range []Key{one, two, Quarantine(addr1)} {
		if got, ok := ParseKey([]byte(k)); !ok || got != k {
			t.Errorf("%s reads back as %q, %v", k, got, ok)
		}
	}
	for _, b := range []string{"", "m", "m12345", "x123456", "q123", "c1234567890"} {
		if _, ok := ParseKey([]byte(b)); ok {
			t.Errorf("%q is taken for a key", b)
		}
	}
	if m, ok := one.MAC(); !ok || m.String() != "52:54:00:00:00:01" {
		t.Errorf("MAC %s, %v", m, ok)
	}
	if _, ok := two.MAC(); ok {
		t.Error("a client without MAC has one")
	}
	equal(t, "text", []string{one.String(), two.String()}, []string{"52:54:00:00:00:01", "duid 0004010203 iaid 01020304"})
}
