package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/state"
	"muster/roles/state/statetest"
)

// TestFullDisk fills the file system under the store, several times: what fails leaves nothing, and with
// space again everything works, without a restart.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "1m") // no room for a journal
	path := filepath.Join(dir, "state.db")
	s := open(t, path)
	update(t, s, statetest.Fill)
	if err := s.CommitLeases(t.Context(), []lease.Lease{numberedLease(1)}, nil); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		filler := fill(t, dir)
		before, watch := statetest.Dump(s), s.Watch(revision(s))
		rackErr := overfill(t, s)
		leaseErr := s.CommitLeases(t.Context(), manyLeases(round), nil)
		for what, err := range map[string]error{"Update": rackErr, "CommitLeases": leaseErr} {
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Fatalf("%s on a full disk: got %v, want ENOSPC and that nothing was changed", what, err)
			}
		}
		if d := statetest.Diff(before, statetest.Dump(s)); d != "" {
			t.Fatalf("a failed commit is visible:\n%s", d)
		}
		select {
		case <-watch:
			t.Error("a failed commit fired a watch")
		default:
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx roles.Tx) error { return putNumbered(tx, round+1) })
		if err := s.CommitLeases(t.Context(), []lease.Lease{numberedLease(round + 2)}, nil); err != nil {
			t.Fatal(err)
		}
		before = statetest.Dump(s)
		s.Close()
		s = open(t, path)
		if d := statetest.Diff(before, statetest.Dump(s)); d != "" {
			t.Fatalf("reopened (-before +after):\n%s", d)
		}
	}
}

// TestFullDiskJournal fills the file system when the lease journal is there: leases go on for as long as that has
// room, then they fail like everything else, and nothing is lost.
func TestFullDiskJournal(t *testing.T) {
	dir := smallDisk(t, "10m")
	path := filepath.Join(dir, "state.db")
	s := open(t, path)
	if err := s.CommitLeases(t.Context(), []lease.Lease{numberedLease(1)}, nil); err != nil {
		t.Fatal(err)
	}
	filler := fill(t, dir)
	if err := s.CommitLeases(t.Context(), []lease.Lease{numberedLease(2)}, nil); err != nil {
		t.Errorf("a lease on a full disk with a journal: %v", err)
	}
	var err error
	for round := 0; err == nil && round < 100; round++ {
		err = s.CommitLeases(t.Context(), manyLeases(round), nil)
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing was changed") {
		t.Fatalf("leases in a full journal on a full disk: got %v, want ENOSPC and that nothing was changed", err)
	}
	before := statetest.Dump(s)
	s.Close() // it cannot fold
	s = open(t, path)
	if d := statetest.Diff(before, statetest.Dump(s)); d != "" {
		t.Fatalf("reopened on a full disk (-before +after):\n%s", d)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.CommitLeases(t.Context(), []lease.Lease{numberedLease(3)}, nil); err != nil {
		t.Errorf("with space again: %v", err)
	}
	before = statetest.Dump(s)
	s.Close()
	if d := statetest.Diff(before, statetest.Dump(open(t, path))); d != "" {
		t.Fatalf("reopened (-before +after):\n%s", d)
	}
}

// smallDisk mounts a little memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a small tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until nothing more fits.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for range 1 << 12 {
		if _, err := f.Write(block); err != nil {
			return name
		}
	}
	t.Fatal("the small disk is not small")
	return ""
}

// overfill updates with more than can fit between the pages of the file.
func overfill(t *testing.T, s *state.Store) error {
	return s.Update(t.Context(), func(tx roles.Tx) error {
		for i := range 8 {
			r := roles.Role{Name: "big" + string(rune('a'+i)), Description: strings.Repeat("x", 64<<10)}
			if err := tx.Roles().Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func manyLeases(round int) (out []lease.Lease) {
	for i := range 10_000 {
		l := numberedLease(1_000_000*(round+1) + i)
		l.Expires = time.Unix(1, 0)
		out = append(out, l)
	}
	return out
}

func revision(s *state.Store) (rev uint64) {
	s.View(func(tx roles.Tx) error { rev = tx.Revision(); return nil })
	return rev
}
