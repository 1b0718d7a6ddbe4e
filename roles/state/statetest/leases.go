package statetest

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
)

func someLeases(n int) []lease.Lease {
	out := make([]lease.Lease, n)
	for i := range out {
		out[i] = lease.Lease{MAC: lease.MAC(mac(i + 1)), Addr: netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)}),
			Expires: noon.Add(time.Duration(i)), Hostname: fmt.Sprint("host", i)}
	}
	return out
}

func testLeases(t *testing.T, r *rack) {
	all := someLeases(3)
	all[1].Declined, all[1].MAC = true, lease.Quarantine(all[1].Addr)
	all[2].Expires, all[2].Hostname = time.Time{}, strings.Repeat("x", 300)
	if err := r.CommitLeases(t.Context(), all, nil); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	equal(t, "leases", Dump(r.Store).Leases, all)
	if err := r.CommitLeases(t.Context(), nil, []lease.MAC{all[0].MAC, {9}}); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	equal(t, "leases after a delete", Dump(r.Store).Leases, all[1:])
	bad := lease.Lease{MAC: lease.MAC{1}, Addr: netip.MustParseAddr("fe80::1")}
	if err := r.CommitLeases(t.Context(), append(someLeases(1), bad), nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("IPv6 lease: got %v, want fs.ErrInvalid", err)
	}
	if err := r.CommitLeases(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	equal(t, "leases after a refused commit", Dump(r.Store).Leases, all[1:])
}

// testLeaseMoves lets few machines fight for few addresses, several times within a commit: what is stored
// must be what the index shows.
func testLeaseMoves(t *testing.T, r *rack) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var puts []lease.Lease
		var deletes []lease.MAC
		for range rnd.IntN(12) {
			puts = append(puts, lease.Lease{MAC: lease.MAC(mac(rnd.IntN(6))), Expires: noon.Add(time.Duration(rnd.IntN(1e9))),
				Addr: netip.AddrFrom4([4]byte{10, 77, 0, byte(rnd.IntN(6))})})
		}
		for range rnd.IntN(3) {
			deletes = append(deletes, lease.MAC(mac(rnd.IntN(6))))
		}
		if err := r.CommitLeases(t.Context(), puts, deletes); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		if t.Failed() {
			t.Fatalf("puts %v, deletes %v", puts, deletes)
		}
	}
}

// testLeasesDoNotWait commits leases while a closure of Update is under way.
func testLeasesDoNotWait(t *testing.T, r *rack) {
	r.update(func(tx roles.Tx) error {
		if err := r.CommitLeases(t.Context(), someLeases(2), nil); err != nil {
			return err
		}
		if n := r.Leases().Len(); n != 2 {
			t.Errorf("%d leases visible, want 2", n)
		}
		return tx.Roles().Put(roles.Role{Name: "web"})
	})
	r.view(func(tx roles.Tx) {
		if _, ok := tx.Roles().Get("web"); !ok {
			t.Error("the Update around the lease commit is lost")
		}
	})
}

// testLeasesWakeNobody: leases take a revision, but the rack's stays.
func testLeasesWakeNobody(t *testing.T, r *rack) {
	rev := revision(r)
	for i := range 3 {
		if err := r.CommitLeases(t.Context(), someLeases(i+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := revision(r); got != rev {
		t.Errorf("lease commits raised the rack's revision from %d to %d", rev, got)
	}
	if closed(r.Watch(rev)) {
		t.Error("lease commits fired a watch")
	}
	r.update(func(tx roles.Tx) error { return tx.Roles().Put(roles.Role{Name: "web"}) })
	if got := revision(r); got != rev+4 {
		t.Errorf("revision %d, want %d: three lease commits and one of the rack", got, rev+4)
	}
}
