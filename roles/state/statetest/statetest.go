// Package statetest is the contract of a store, as tests: one suite to run over every backend. It goes
// beyond the comments of roles.Store in one thing: what a reopened store shows must be exactly what the
// old one showed.
package statetest

import (
	"iter"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
	"muster/roles"
	"muster/roles/state"
)

// Place makes a new place for data and returns a function that opens it: first empty, and after Close
// with what was committed before.
type Place func(t *testing.T) (open func() *state.Store)

// Run runs the suite.
func Run(t *testing.T, place Place) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *rack)
	}{
		{"Tables", testTables},
		{"Keys", testKeys},
		{"Order", testOrder},
		{"ViewIsReadOnly", testReadOnly},
		{"ValuesAreCopies", testCopies},
		{"Hidden", testHidden},
		{"Derived", testDerived},
		{"Unique", testUnique},
		{"Swap", testSwap},
		{"SlotsOf", testSlotsOf},
		{"OwnWrites", testOwnWrites},
		{"WriteWhileReading", testWriteWhileReading},
		{"FailedClosure", testFailedClosure},
		{"Panic", testPanic},
		{"FailAmongOthers", testFailAmongOthers},
		{"Isolation", testIsolation},
		{"Race", testRace},
		{"Revision", testRevision},
		{"Watch", testWatch},
		{"Cancelled", testCancelled},
		{"Closed", testClosed},
		{"BootsKept", testBootsKept},
		{"RunningBootKept", testRunningBootKept},
		{"BootsOfForgotten", testForget},
		{"NextBoot", testNextBoot},
		{"Events", testEvents},
		{"Timeline", testTimeline},
		{"Leases", testLeases},
		{"LeaseMoves", testLeaseMoves},
		{"LeasesDoNotWait", testLeasesDoNotWait},
		{"LeasesWakeNobody", testLeasesWakeNobody},
		{"Leases6", testLeases6},
		{"Lease6Moves", testLease6Moves},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &rack{t: t, open: place(t)}
			r.Store = r.open()
			t.Cleanup(func() { r.Close() })
			c.test(t, r)
			r.reopen()
		})
	}
}

// rack is a store under test.
type rack struct {
	*state.Store
	t    *testing.T
	open func() *state.Store
}

// update fails the test when the Update does.
func (r *rack) update(fn func(roles.Tx) error) {
	r.t.Helper()
	if err := r.Update(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// view runs fn in a View.
func (r *rack) view(fn func(roles.Tx)) {
	r.t.Helper()
	if err := r.View(func(tx roles.Tx) error { fn(tx); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

// reopen closes and opens the store, and compares what both show.
func (r *rack) reopen() {
	r.t.Helper()
	before := Dump(r.Store)
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.Store = r.open()
	equal(r.t, "reopened", Dump(r.Store), before)
}

// Content is everything that a store shows.
type Content struct {
	Roles    []roles.Role
	Pools    []roles.Pool
	Slots    []roles.Slot
	Nodes    []roles.Node
	Boots    []roles.Boot
	Secrets  []roles.Secret
	Rollouts []roles.Rollout
	Pairs    []roles.Pair
	Events   []roles.Event
	Leases   []lease.Lease
	Leases6  []lease6.Lease
}

// Dump reads everything.
func Dump(s *state.Store) (c Content) {
	s.View(func(tx roles.Tx) error {
		c.Roles = slices.Collect(tx.Roles().All())
		c.Pools = slices.Collect(tx.Pools().All())
		c.Slots = slices.Collect(tx.Slots().All())
		c.Nodes = slices.Collect(tx.Nodes().All())
		c.Boots = slices.Collect(tx.Boots().All())
		c.Secrets = slices.Collect(tx.Secrets().All())
		c.Rollouts = slices.Collect(tx.Rollouts().All())
		c.Pairs = slices.Collect(tx.Pairs().All())
		c.Events = slices.Collect(tx.Events(0))
		return nil
	})
	if s.Leases().Len() > 0 {
		c.Leases = s.Leases().All()
	}
	if s.Leases6().Len() > 0 {
		c.Leases6 = s.Leases6().All()
	}
	return c
}

// Diff compares values of the rack.
func Diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// pick gives one property of every value.
func pick[V, P any](seq iter.Seq[V], property func(V) P) (out []P) {
	for v := range seq {
		out = append(out, property(v))
	}
	return out
}
