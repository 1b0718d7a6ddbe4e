package state

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"muster/dhcpd/lease"
	"muster/roles"
)

// slowBackend waits at every commit, and fails when it is told to.
type slowBackend struct {
	Memory
	mu      sync.Mutex // guards all below
	commits int
	begun   chan struct{} // gets a value when a commit begins; nil does not wait
	result  chan error    // ends it
}

func (b *slowBackend) Commit(revision uint64, batch []Record) error {
	b.mu.Lock()
	b.commits++
	b.mu.Unlock()
	if b.begun != nil {
		b.begun <- struct{}{}
		if err := <-b.result; err != nil {
			return err
		}
	}
	return b.Memory.Commit(revision, batch)
}

func slowStore(t *testing.T, o Options) (*Store, *slowBackend) {
	t.Helper()
	b := new(slowBackend)
	s, err := New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	b.begun, b.result, b.commits = make(chan struct{}), make(chan error), 0
	return s, b
}

func putRole(t *testing.T, s *Store, name string) error {
	return s.Update(t.Context(), func(tx roles.Tx) error {
		_, err := tx.Append(roles.Event{})
		return errors.Join(err, tx.Roles().Put(roles.Role{Name: name}))
	})
}

func has(s *Store, name string) (ok bool) {
	s.View(func(tx roles.Tx) error { _, ok = tx.Roles().Get(name); return nil })
	return ok
}

// TestGroupCommit: who waits while a commit is under way shares the next one; nothing is visible or
// acknowledged before it is durable.
func TestGroupCommit(t *testing.T) { synctest.Test(t, testGroupCommit) }

func testGroupCommit(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s, b := slowStore(t, Options{Metrics: reg})
	first := make(chan error, 1)
	go func() { first <- putRole(t, s, "first") }()
	<-b.begun
	if has(s, "first") {
		t.Error("visible before it is durable")
	}
	const n = 20
	others := make(chan error, n)
	for range n {
		go func() { others <- putRole(t, s, "other") }()
	}
	// Now all others stand in line.
	synctest.Wait()
	if len(first)+len(others) != 0 {
		t.Error("an Update returned before its commit")
	}
	b.result <- nil
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-b.begun
	b.result <- nil
	for range n {
		if err := <-others; err != nil {
			t.Error(err)
		}
	}
	if b.commits != 2 {
		t.Errorf("%d commits for %d Updates, want 2", b.commits, n+1)
	}
	for name, want := range map[string]float64{"updates_total": n + 1, "events_total": n + 1, "commits_total": 2, "revision": 3} {
		if got := metric(t, reg, "muster_state_"+name); got != want {
			t.Errorf("muster_state_%s is %v, want %v", name, got, want)
		}
	}
}

// TestFailedCommit: everybody in the batch hears of it, nothing of it is seen, and the next one works.
func TestFailedCommit(t *testing.T) { synctest.Test(t, testFailedCommit) }

func testFailedCommit(t *testing.T) {
	s, b := slowStore(t, Options{})
	boom := errors.New("boom")
	done := make(chan error)
	go func() { done <- putRole(t, s, "first") }()
	<-b.begun
	go func() { done <- putRole(t, s, "second") }()
	go func() { done <- putRole(t, s, "third") }()
	synctest.Wait()
	b.result <- nil
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-b.begun
	b.result <- boom
	for range 2 {
		if err := <-done; !errors.Is(err, boom) {
			t.Errorf("got %v, want the backend's error", err)
		}
	}
	if has(s, "second") || has(s, "third") {
		t.Error("a failed commit is visible")
	}
	go func() { done <- putRole(t, s, "fourth") }()
	<-b.begun
	b.result <- nil
	if err := <-done; err != nil || !has(s, "fourth") {
		t.Errorf("after a failed commit: %v", err)
	}
}

// TestLeaseCommitOrder: a lease commit waits for the commit that is under way, and is seen only when it is
// durable itself.
func TestLeaseCommitOrder(t *testing.T) { synctest.Test(t, testLeaseCommitOrder) }

func testLeaseCommitOrder(t *testing.T) {
	s, b := slowStore(t, Options{})
	rack, leases := make(chan error), make(chan error)
	go func() { rack <- putRole(t, s, "web") }()
	<-b.begun
	go func() {
		leases <- s.CommitLeases(t.Context(), []lease.Lease{mustDecode(t)}, nil)
	}()
	b.result <- nil
	if err := <-rack; err != nil {
		t.Error(err)
	}
	<-b.begun
	if s.Leases().Len() != 0 {
		t.Error("a lease is visible before it is durable")
	}
	b.result <- errors.New("boom")
	if err := <-leases; err == nil || s.Leases().Len() != 0 {
		t.Errorf("failed lease commit: error %v, %d leases visible", err, s.Leases().Len())
	}
}

// TestForeignWrite: a backend that somebody else wrote to is not written over.
func TestForeignWrite(t *testing.T) {
	var m Memory
	s, err := New(&m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(m.revision+1, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := putRole(t, s, "web"); !errors.Is(err, errForeign) || has(s, "web") {
			t.Errorf("got %v, want errForeign", err)
		}
	}
}

func mustDecode(t *testing.T) lease.Lease {
	t.Helper()
	l, err := decodeLease([]byte{2, 0, 0, 0, 0, 1}, make([]byte, leaseHead))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
