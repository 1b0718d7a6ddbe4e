package statetest

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

func holder(i int) lease6.Key {
	if i%2 == 0 {
		return lease6.ByMAC(lease.MAC(mac(i + 1)))
	}
	return lease6.ByClient([]byte{0, 4, byte(i)}, [4]byte{byte(i)}, lease.MAC{})
}

func addr6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 15: byte(i)})
}

func testLeases6(t *testing.T, r *rack) {
	all := []lease6.Lease{
		{Key: holder(0), Addr: addr6(1), Expires: noon},
		{Key: holder(1), Addr: addr6(2), Unknown: true},
		{Key: lease6.Quarantine(addr6(3)), Addr: addr6(3), Expires: noon.Add(time.Second), Declined: true, Unknown: true},
	}
	if err := r.CommitLeases6(t.Context(), all, nil); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	equal(t, "leases", Dump(r.Store).Leases6, all)
	if n := r.Leases6().Unknown(); n != 2 {
		t.Errorf("%d unknown after a restart, want 2", n)
	}
	if err := r.CommitLeases6(t.Context(), nil, []lease6.Key{all[0].Key, holder(9)}); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	equal(t, "leases after a delete", Dump(r.Store).Leases6, all[1:])
	for what, bad := range map[string]lease6.Lease{
		"IPv4": {Key: holder(1), Addr: netip.MustParseAddr("10.0.0.1")}, "nobody": {Addr: addr6(5)}, "no address": {Key: holder(1)},
	} {
		if err := r.CommitLeases6(t.Context(), []lease6.Lease{{Key: holder(7), Addr: addr6(7)}, bad}, nil); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: got %v, want fs.ErrInvalid", what, err)
		}
	}
	equal(t, "leases after refused commits", Dump(r.Store).Leases6, all[1:])
}

// testLease6Moves is testLeaseMoves for DHCPv6.
func testLease6Moves(t *testing.T, r *rack) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var puts []lease6.Lease
		var deletes []lease6.Key
		for range rnd.IntN(12) {
			puts = append(puts, lease6.Lease{Key: holder(rnd.IntN(6)), Addr: addr6(rnd.IntN(6)),
				Expires: noon.Add(time.Duration(rnd.IntN(1e9))), Unknown: rnd.IntN(2) == 0})
		}
		for range rnd.IntN(3) {
			deletes = append(deletes, holder(rnd.IntN(6)))
		}
		if err := r.CommitLeases6(t.Context(), puts, deletes); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		if t.Failed() {
			t.Fatalf("puts %v, deletes %v", puts, deletes)
		}
	}
}
