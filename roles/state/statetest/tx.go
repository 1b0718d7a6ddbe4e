package statetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"testing"

	"muster/roles"
)

func testOwnWrites(t *testing.T, r *rack) {
	r.update(func(tx roles.Tx) error {
		if err := Fill(tx); err != nil {
			return err
		}
		if _, ok := tx.Pools().Get("web"); !ok {
			t.Error("a transaction does not see its Put")
		}
		if b, _ := tx.Boots().Get(3); len(b.Events) != 1 {
			t.Errorf("a transaction sees %d of its events, want 1", len(b.Events))
		}
		if err := tx.Pools().Delete("web"); err != nil {
			return err
		}
		if _, ok := tx.Pools().Get("web"); ok {
			t.Error("a transaction does not see its Delete")
		}
		r.view(func(other roles.Tx) {
			if _, ok := other.Roles().Get("web"); ok {
				t.Error("a View sees what is not committed")
			}
		})
		return nil
	})
}

// testWriteWhileReading: a loop goes over what was there when it began.
func testWriteWhileReading(t *testing.T, r *rack) {
	const n = 100
	r.update(func(tx roles.Tx) error {
		for i := range n {
			if err := tx.Slots().Put(slot("a", i+1)); err != nil {
				return err
			}
		}
		return nil
	})
	r.update(func(tx roles.Tx) error {
		seen := 0
		for s := range tx.Slots().All() {
			seen++
			if err := tx.Slots().Delete(s.Name); err != nil {
				return err
			}
			s.Name, s.Pool = "b"+s.Name, "b"
			if err := tx.Slots().Put(s); err != nil {
				return err
			}
		}
		for s := range tx.SlotsOf("b") {
			seen++
			s.Node = mac(s.Number)
			if err := tx.Slots().Put(s); err != nil {
				return err
			}
		}
		if seen != 2*n {
			t.Errorf("the loops saw %d slots, want %d", seen, 2*n)
		}
		return nil
	})
	r.view(func(tx roles.Tx) {
		if got := len(slices.Collect(tx.Slots().All())); got != n {
			t.Errorf("%d slots, want %d", got, n)
		}
	})
}

// ruin changes something of everything.
func ruin(tx roles.Tx) error {
	tx.Roles().Delete("web")
	tx.Pools().Put(roles.Pool{Name: "web", Role: "other"})
	tx.Pools().Put(roles.Pool{Name: "web", Role: "yet another"})
	tx.Pools().Put(roles.Pool{Name: "new"})
	tx.Slots().Put(slot("web", 3))
	tx.Slots().Delete("web-01")
	tx.Slots().Delete("web-03")
	tx.Nodes().Put(roles.Node{MAC: mac(99)})
	tx.Secrets().Put(roles.Secret{Key: FullSecret().Key, Value: []byte("another")})
	tx.Secrets().Put(roles.Secret{Key: "pool/web/new"})
	tx.Rollouts().Delete("web")
	tx.Pairs().Put(roles.Pair{Pool: "web"})
	for range roles.BootEventsKept + 10 {
		tx.Append(roles.Event{Time: noon, Node: mac(7), Boot: 3, Step: roles.StepHealth})
	}
	for range roles.BootsKept + 2 {
		id, _ := tx.NextBoot()
		tx.Boots().Put(roles.Boot{ID: id + 3, Node: mac(7), Up: noon})
	}
	tx.Nodes().Delete(mac(7))
	if _, ok := tx.Boots().Get(3); ok {
		panic("boot 3 should be gone by now")
	}
	return errRuin
}

var errRuin = errors.New("the closure failed")

func testFailedClosure(t *testing.T, r *rack) {
	r.update(Fill)
	before, rev := Dump(r.Store), revision(r)
	for range 3 {
		if err := r.Update(t.Context(), ruin); err != errRuin {
			t.Fatalf("got %v, want the closure's own error", err)
		}
		equal(t, "after a failed closure", Dump(r.Store), before)
	}
	if got := revision(r); got != rev {
		t.Errorf("revision %d, want %d as before", got, rev)
	}
	r.update(func(tx roles.Tx) error {
		if id, err := tx.NextBoot(); err != nil || id != 1 {
			t.Errorf("next boot %d, %v; want 1", id, err)
		}
		ev, err := tx.Append(roles.Event{})
		if ev.Seq != 2 {
			t.Errorf("next event %d, want 2", ev.Seq)
		}
		return err
	})
}

func testPanic(t *testing.T, r *rack) {
	r.update(Fill)
	before := Dump(r.Store)
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v, want the closure's own panic", p)
			}
		}()
		r.Update(t.Context(), func(tx roles.Tx) error { ruin(tx); panic("boom") })
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		r.Update(t.Context(), func(tx roles.Tx) error { ruin(tx); runtime.Goexit(); return nil })
	})
	wg.Wait()
	equal(t, "after a panic", Dump(r.Store), before)
	r.update(func(tx roles.Tx) error { return tx.Roles().Put(roles.Role{Name: "alive"}) })
}

// testFailAmongOthers: closures that fail share commits with closures that do not.
func testFailAmongOthers(t *testing.T, r *rack) {
	r.update(Fill)
	var wg sync.WaitGroup
	const n = 40
	for i := range n {
		wg.Go(func() {
			err := r.Update(t.Context(), func(tx roles.Tx) error {
				if i%2 == 0 {
					return ruin(tx)
				}
				_, err := tx.Append(roles.Event{Node: mac(i), Boot: 3})
				return errors.Join(err, tx.Roles().Put(roles.Role{Name: fmt.Sprint("role", i)}))
			})
			if (i%2 == 0) != (err == errRuin) {
				t.Errorf("closure %d: got %v", i, err)
			}
		})
	}
	wg.Wait()
	c := Dump(r.Store)
	if len(c.Roles) != 1+n/2 || len(c.Events) != 1+n/2 || len(c.Boots) != 1 || len(c.Boots[0].Events) != 1+n/2 {
		t.Errorf("%d roles, %d events, %d boots; want %d, %d, 1", len(c.Roles), len(c.Events), len(c.Boots), 1+n/2, 1+n/2)
	}
	for i, e := range c.Events {
		if e.Seq != uint64(i+1) {
			t.Errorf("event %d has Seq %d", i, e.Seq)
		}
	}
}

func testIsolation(t *testing.T, r *rack) {
	r.update(Fill)
	before := Dump(r.Store)
	r.view(func(tx roles.Tx) {
		rev := tx.Revision()
		r.update(func(tx roles.Tx) error { ruin(tx); return nil }) // a View does not block it
		got := Content{
			Roles: slices.Collect(tx.Roles().All()), Pools: slices.Collect(tx.Pools().All()),
			Slots: slices.Collect(tx.Slots().All()), Nodes: slices.Collect(tx.Nodes().All()),
			Boots: slices.Collect(tx.Boots().All()), Events: slices.Collect(tx.Events(0)),
			Secrets: slices.Collect(tx.Secrets().All()), Rollouts: slices.Collect(tx.Rollouts().All()),
			Pairs: slices.Collect(tx.Pairs().All()),
		}
		equal(t, "a View after another's commit", got, before)
		if tx.Revision() != rev {
			t.Errorf("the revision of a View went from %d to %d", rev, tx.Revision())
		}
	})
}

func testCancelled(t *testing.T, r *rack) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fn := func(roles.Tx) error { t.Error("the closure ran"); return nil }
	if err := r.Update(ctx, fn); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	// Somebody who gives up waiting does not disturb the others.
	ctx, cancel = context.WithCancel(t.Context())
	r.update(func(tx roles.Tx) error {
		gone := make(chan error)
		go func() { gone <- r.Update(ctx, fn) }()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		return tx.Roles().Put(roles.Role{Name: "web"})
	})
}

func testClosed(t *testing.T, r *rack) {
	r.update(Fill)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Update(t.Context(), putNew); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Update: got %v, want fs.ErrClosed", err)
	}
	if err := r.CommitLeases(t.Context(), someLeases(1), nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("CommitLeases: got %v, want fs.ErrClosed", err)
	}
	r.view(func(tx roles.Tx) {
		if _, ok := tx.Roles().Get("new"); ok {
			t.Error("a closed store shows what it could not commit")
		}
	})
	if err := r.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func putNew(tx roles.Tx) error { return tx.Roles().Put(roles.Role{Name: "new"}) }
