package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/cmd/muster/config"
	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/state"
)

var leaseNow = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func leaseMAC(n byte) lease.MAC { return lease.MAC{0x52, 0x54, 0, 0, 0, n} }

// leaseRack has a subnet with a router, a host, a pool and a node, and three leases of its own.
func leaseRack(t *testing.T) *Leases {
	t.Helper()
	store := state.OpenMemory()
	t.Cleanup(func() { _ = store.Close() })
	ranged := func(s string) roles.AddressRange {
		r, err := roles.ParseAddressRange(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ip := netip.MustParseAddr
	err := store.Update(t.Context(), func(tx roles.Tx) error {
		pool := ranged("10.77.0.20-10.77.0.29")
		return errors.Join(
			tx.Pools().Put(roles.Pool{Name: "web", Role: "web", Addresses: pool}),
			tx.Slots().Put(roles.Slot{Name: "web-01", Pool: "web", Number: 1, Address: pool.First, Node: roles.MAC(leaseMAC(20))}),
			tx.Nodes().Put(roles.Node{MAC: roles.MAC(leaseMAC(20)), Pool: "web", Slot: "web-01", Address: pool.First, State: roles.StateReady}))
	})
	if err != nil {
		t.Fatal(err)
	}
	hour := leaseNow.Add(time.Hour)
	err = store.CommitLeases(t.Context(), []lease.Lease{
		{MAC: leaseMAC(1), Addr: ip("10.77.0.101"), Expires: hour, Hostname: "one"},
		{MAC: leaseMAC(2), Addr: ip("10.77.0.102"), Expires: leaseNow.Add(-time.Hour)},
		{MAC: lease.Quarantine(ip("10.77.0.103")), Addr: ip("10.77.0.103"), Expires: hour, Declined: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Leases{Store: store, Own: []netip.Addr{ip("10.77.0.1")}, Now: func() time.Time { return leaseNow }, Subnets: []config.Subnet{{
		Subnet: netip.MustParsePrefix("10.77.0.0/24"), Range: ranged("10.77.0.100-10.77.0.199"), Router: ip("10.77.0.254"),
		Hosts: []config.Host{{MAC: roles.MAC(leaseMAC(50)), Address: ip("10.77.0.5")}, {MAC: roles.MAC(leaseMAC(51)), Address: ip("10.77.0.151")}},
	}}}
}

// held shows the leases that are not expired.
func held(l *Leases) (out []string) {
	for _, one := range l.Store.Leases().All() {
		if one.Active(leaseNow) {
			out = append(out, fmt.Sprintf("%s %s %s", one.Addr, one.MAC, one.Expires.Format("15:04")))
		}
	}
	return out
}

const later = "1772359200" // 10:00

func TestImportLeases(t *testing.T) {
	file := strings.NewReplacer("T ", later+" ", "MAC:", "52:54:00:00:00:").Replace(`T MAC:61 10.77.0.161 free *
T MAC:01 10.77.0.101 mine *
T MAC:62 10.77.0.102 expired-here *
T MAC:63 10.77.0.103 quarantined *
T MAC:64 10.77.0.101 lent *
T MAC:01 10.77.0.110 moved *
T MAC:20 10.77.0.120 node *
T MAC:50 10.77.0.150 host *
T MAC:50 10.77.0.5 host *
T MAC:66 10.77.0.151 others-host *
T MAC:67 10.77.0.25 slot *
T MAC:68 10.77.0.1 own *
T MAC:69 10.77.0.254 router *
T MAC:6a 10.77.0.99 range *
T MAC:6b 10.78.0.1 subnet *
1 x
1772352000 MAC:6c 10.77.0.112 old *
0 MAC:6d 10.77.0.113 ever *
T MAC:6e 10.77.0.114 two *
1772359260 MAC:6e 10.77.0.115 two *
T 06-11:22 10.77.0.116 * *
duid 00:01
T 1 fd00::1 * 00:01
`)
	// Of 101 the file says two things; the last one counts.
	want := []string{
		"1 10.77.0.161 imported ",
		"3 10.77.0.102 imported ",
		"4 10.77.0.103 conflict it is held back already, until 2026-03-01T09:00:00Z",
		"5 10.77.0.101 conflict this server has lent it to 52:54:00:00:00:01, until 2026-03-01T09:00:00Z",
		"6 10.77.0.110 held its machine has 10.77.0.101 of this server",
		"7 10.77.0.120 held its machine is web-01 now, at 10.77.0.20",
		"8 10.77.0.150 held its machine has the fixed address 10.77.0.5 in muster.yaml",
		"9 10.77.0.5 imported ",
		"10 10.77.0.151 conflict it is the address of the host 52:54:00:00:00:33 in muster.yaml",
		"11 10.77.0.25 conflict it is in the addresses of pool web (10.77.0.20-10.77.0.29)",
		"12 10.77.0.1 conflict it is this server's own address",
		"13 10.77.0.254 conflict it is the router's address",
		"14 10.77.0.99 outside it is not in the range of 10.77.0.0/24, 10.77.0.100-10.77.0.199: its machine gets another address when it renews",
		"15 10.78.0.1 outside it is in no subnet that DHCP serves",
		"16 invalid IP bad want EXPIRY MAC ADDRESS NAME, separated by blanks",
		"17 10.77.0.112 expired ",
		"18 10.77.0.113 imported it never expires; to keep it for good, write into the subnet's hosts: {mac: 52:54:00:00:00:6d, address: 10.77.0.113}",
		"19 10.77.0.114 held its machine had 10.77.0.115 later (line 20), and has one address here",
		"20 10.77.0.115 imported ",
		"21 10.77.0.116 held its machine is not known by an Ethernet address",
	}
	file = strings.ReplaceAll(strings.ReplaceAll(file, ":50 ", ":32 "), ":20 10", ":14 10") // 50 and 20 in hexadecimal
	for _, dry := range []bool{true, false} {
		l := leaseRack(t)
		before := held(l)
		r, err := l.ImportLeases(t.Context(), api.LeaseFile{Text: []byte(file), DryRun: dry, All: true})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range r.Lines {
			got = append(got, fmt.Sprintf("%d %s %s %s", x.Line, x.Address, x.Result, x.Why))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("dry %v: -want +got:\n%s", dry, d)
		}
		results := map[string]int{"imported": 5, "held": 5, "conflict": 6, "outside": 2, "expired": 1, "bad": 1, "ipv6": 1}
		if d := cmp.Diff(results, r.Results); d != "" || r.DryRun != dry || r.Format != "dnsmasq" {
			t.Errorf("%+v: -want +got:\n%s", r, d)
		}
		after := []string{
			"10.77.0.5 52:54:00:00:00:32 10:00", "10.77.0.101 52:54:00:00:00:01 09:00", "10.77.0.102 52:54:00:00:00:62 10:00",
			"10.77.0.103 ff:ff:0a:4d:00:67 09:00", "10.77.0.110 ff:ff:0a:4d:00:6e 10:00", "10.77.0.113 52:54:00:00:00:6d 06:28",
			"10.77.0.114 ff:ff:0a:4d:00:72 10:00", "10.77.0.115 52:54:00:00:00:6e 10:01", "10.77.0.116 ff:ff:0a:4d:00:74 10:00",
			"10.77.0.120 ff:ff:0a:4d:00:78 10:00", "10.77.0.150 ff:ff:0a:4d:00:96 10:00", "10.77.0.161 52:54:00:00:00:61 10:00",
		}
		if dry {
			after = before
		}
		if d := cmp.Diff(after, held(l)); d != "" {
			t.Errorf("dry %v: leases -want +got:\n%s", dry, d)
		}
		if !dry { // a second time changes nothing
			again, err := l.ImportLeases(t.Context(), api.LeaseFile{Text: []byte(file)})
			if d := cmp.Diff(after, held(l)); d != "" || err != nil || again.Results["imported"] != 5 {
				t.Errorf("again: %+v, %v\n%s", again, err, d)
			}
		}
	}
}

// TestLateBatch: a batch of requests that was decided before an import does not take what was imported.
func TestLateBatch(t *testing.T) {
	l := leaseRack(t)
	text := []byte(later + " 52:54:00:00:00:61 10.77.0.161 * *\n")
	if _, err := l.ImportLeases(t.Context(), api.LeaseFile{Text: text}); err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("10.77.0.161")
	other := lease.Lease{MAC: leaseMAC(9), Addr: a, Expires: leaseNow.Add(time.Hour)}
	if err := l.Commit(t.Context(), []lease.Lease{other}, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another machine got the address: %v", err)
	}
	mine := lease.Lease{MAC: leaseMAC(0x61), Addr: a, Expires: leaseNow.Add(3 * time.Hour)}
	if err := l.Commit(t.Context(), []lease.Lease{mine}, nil); err != nil {
		t.Errorf("its own machine does not renew: %v", err)
	}
	if err := l.Commit(t.Context(), []lease.Lease{{MAC: lease.Quarantine(a), Addr: a, Expires: leaseNow.Add(time.Hour), Declined: true}}, nil); err != nil {
		t.Errorf("it cannot be declined: %v", err)
	}
	l.Now = func() time.Time { return leaseNow.Add(2 * time.Hour) }
	if err := l.Commit(t.Context(), []lease.Lease{other}, nil); err != nil || l.recent.Load() != nil {
		t.Errorf("later: %v", err)
	}
}

func TestReleaseLease(t *testing.T) {
	l := leaseRack(t)
	for _, tt := range []struct{ key, state, left string }{
		{leaseMAC(1).String(), api.LeaseActive, "10.77.0.101 expired 08:00"},
		{"10.77.0.101", api.LeaseExpired, ""}, // now it is forgotten
		{"10.77.0.102", api.LeaseExpired, ""},
		{"10.77.0.103", api.LeaseDeclined, ""},
	} {
		was, err := l.ReleaseLease(t.Context(), tt.key)
		if err != nil || was.State != tt.state || (was.State == api.LeaseDeclined) != was.MAC.IsZero() {
			t.Errorf("%s was %+v, %v", tt.key, was, err)
		}
		all, err := l.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left := ""
		for _, v := range all {
			if v.Address == was.Address {
				left = fmt.Sprintf("%s %s %s", v.Address, v.State, v.Expires.Format("15:04"))
			}
		}
		if left != tt.left {
			t.Errorf("%s: left is %q, want %q", tt.key, left, tt.left)
		}
	}
	for key, kind := range map[string]error{"10.77.0.9": fs.ErrNotExist, leaseMAC(9).String(): fs.ErrNotExist, "web-01": fs.ErrInvalid} {
		if _, err := l.ReleaseLease(t.Context(), key); !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", key, err, kind)
		}
	}
}

// TestLeasesUnderLoad is for the race detector: DHCP commits while operators import and release.
func TestLeasesUnderLoad(t *testing.T) {
	l := leaseRack(t)
	ctx := context.WithoutCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range byte(50) {
			a := netip.AddrFrom4([4]byte{10, 77, 0, 120 + i%8})
			if err := l.Commit(ctx, []lease.Lease{{MAC: leaseMAC(i), Addr: a, Expires: leaseNow.Add(time.Hour)}}, nil); err != nil && !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for i := range 20 {
			text := fmt.Appendf(nil, "%s 52:54:00:00:01:%02x 10.77.0.%d * *\n", later, i, 120+i%8)
			if _, err := l.ImportLeases(ctx, api.LeaseFile{Text: text}); err != nil {
				t.Error(err)
			}
			if _, err := l.ReleaseLease(ctx, fmt.Sprintf("10.77.0.%d", 120+i%8)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}
