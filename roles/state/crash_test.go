package state_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/state"
)

// crashFile names the store's file to the child process; crashFrom is its first number.
const (
	crashFile = "MUSTER_STATE_CRASH_FILE"
	crashFrom = "MUSTER_STATE_CRASH_FROM"
)

// TestMain turns the test binary into the child of TestKill.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		from, _ := strconv.Atoi(os.Getenv(crashFrom))
		fmt.Fprintln(os.Stderr, crashChild(path, from))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashChild commits numbered records from several goroutines until it is killed, and prints each number
// after its commit was acknowledged.
func crashChild(path string, from int) error {
	s, err := state.Open(path, state.Options{})
	if err != nil {
		return err
	}
	fails := make(chan error)
	commit := func(what string, first, step int, do func(n int) error) {
		for n := first; ; n += step {
			if err := do(n); err != nil {
				fails <- err
				return
			}
			os.Stdout.WriteString(what + strconv.Itoa(n) + "\n") // one write: lines do not mix
		}
	}
	const writers = 4
	for w := range writers {
		go commit("rack ", from+w, writers, func(n int) error {
			return s.Update(context.Background(), func(tx roles.Tx) error { return putNumbered(tx, n) })
		})
	}
	go commit("lease ", from, 1, func(n int) error {
		return s.CommitLeases(context.Background(), []lease.Lease{numberedLease(n)}, nil)
	})
	return <-fails
}

// putNumbered writes three tables, of which a crash must leave all or none.
func putNumbered(tx roles.Tx, n int) error {
	mac := numberedMAC(n)
	if err := tx.Nodes().Put(roles.Node{MAC: mac, Why: strconv.Itoa(n)}); err != nil {
		return err
	}
	if err := tx.Slots().Put(roles.Slot{Name: "s" + strconv.Itoa(n), Pool: "p", Number: n, Node: mac}); err != nil {
		return err
	}
	_, err := tx.Append(roles.Event{Node: mac, Message: strconv.Itoa(n)})
	return err
}

func numberedMAC(n int) roles.MAC {
	return roles.MAC{2, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func numberedLease(n int) lease.Lease {
	return lease.Lease{MAC: lease.MAC(numberedMAC(n)), Expires: time.Unix(int64(n), 0).UTC(),
		Addr: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Hostname: strconv.Itoa(n)}
}

// TestKill kills a process that commits, at random moments, and looks for all that it acknowledged. (The
// page cache survives a kill: that a commit reaches the disk is bbolt's fsync and the journal's O_DSYNC, which no test here covers.)
func TestKill(t *testing.T) {
	const rounds = 40
	path := filepath.Join(t.TempDir(), "state.db")
	acked := map[string]bool{}
	for round := range rounds {
		before := len(acked)
		killChild(t, path, round*100_000, acked)
		checkAcked(t, path, acked)
		if t.Failed() {
			t.Fatalf("in round %d, with %d acknowledged in it", round, len(acked)-before)
		}
	}
	t.Logf("%d kills, %d acknowledged commits, none lost", rounds, len(acked))
	if len(acked) < rounds {
		t.Errorf("only %d commits were acknowledged: the test tested nothing", len(acked))
	}
}

// killChild runs a child, kills it some time after some commit, and notes what it acknowledged.
func killChild(t *testing.T, path string, from int, acked map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashFile+"="+path, crashFrom+"="+strconv.Itoa(from))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := rand.IntN(40); lines.Scan(); n-- {
		acked[lines.Text()] = true
		if n == 0 {
			// Somewhere between two acknowledgements, and sometimes in the middle of a write.
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
			child.Process.Kill()
		}
	}
	if err := child.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

func checkAcked(t *testing.T, path string, acked map[string]bool) {
	t.Helper()
	s, err := state.Open(path, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.View(func(tx roles.Tx) error {
		events := map[string]bool{}
		for e := range tx.Events(0) {
			events[e.Message] = true
		}
		slots := 0
		for slot := range tx.Slots().All() {
			slots++
			if n, ok := tx.Nodes().Get(slot.Node); !ok || n.Name != slot.Name || !events[n.Why] {
				t.Errorf("slot %s without its node or its event: half a commit", slot.Name)
			}
		}
		if slots != len(events) {
			t.Errorf("%d slots, %d events: half a commit", slots, len(events))
		}
		for line := range acked {
			what, num, _ := strings.Cut(line, " ")
			n, err := strconv.Atoi(num)
			if err != nil {
				t.Fatalf("the child said %q", line)
			}
			if _, ok := tx.Nodes().Get(numberedMAC(n)); what == "rack" && !ok {
				t.Errorf("acknowledged node %d is lost", n)
			}
			if l, _ := s.Leases().ByMAC(numberedLease(n).MAC); what == "lease" && l != numberedLease(n) {
				t.Errorf("acknowledged lease %d is lost", n)
			}
		}
		return nil
	})
}
