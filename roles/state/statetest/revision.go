package statetest

import (
	"testing"

	"muster/roles"
)

func revision(r *rack) (rev uint64) {
	r.view(func(tx roles.Tx) { rev = tx.Revision() })
	return rev
}

func testRevision(t *testing.T, r *rack) {
	rev := revision(r)
	for i := range uint64(5) {
		r.update(func(tx roles.Tx) error {
			if got := tx.Revision(); got != rev+i {
				t.Errorf("revision in Update %d, want %d: that of the last commit", got, rev+i)
			}
			return tx.Roles().Put(roles.Role{Name: "web"})
		})
		if got := revision(r); got != rev+i+1 {
			t.Errorf("revision %d after the commit, want %d", got, rev+i+1)
		}
	}
	r.update(func(roles.Tx) error { return nil })
	if got := revision(r); got != rev+5 {
		t.Errorf("an Update without changes raised the revision to %d", got)
	}
	r.reopen()
	if got := revision(r); got != rev+5 {
		t.Errorf("revision %d after reopening, want %d", got, rev+5)
	}
}

func testWatch(t *testing.T, r *rack) {
	rev := revision(r)
	first, second := r.Watch(rev), r.Watch(rev)
	far := r.Watch(rev + 1)
	if closed(first) || closed(far) {
		t.Fatal("a watch fired before the commit")
	}
	r.update(func(tx roles.Tx) error {
		if closed(first) {
			t.Error("a watch fired in the middle of an Update")
		}
		return tx.Roles().Put(roles.Role{Name: "web"})
	})
	if !closed(first) || !closed(second) || !closed(r.Watch(rev)) {
		t.Error("a watch did not fire after the commit")
	}
	if closed(r.Watch(rev + 1)) {
		t.Error("a new watch of the current revision fired at once")
	}
	r.Update(t.Context(), func(roles.Tx) error { return errRuin })
	if closed(r.Watch(rev + 1)) {
		t.Error("a failed Update fired a watch")
	}
	r.update(func(tx roles.Tx) error { return tx.Roles().Delete("web") })
	if !closed(far) {
		t.Error("the watch of a later revision did not fire")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
