package serve

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/cmd/muster/qnetd"
	"muster/roles"
)

// TestVoteFollowsPairs: the third vote runs while there is a storage pair, and no longer.
func TestVoteFollowsPairs(t *testing.T) {
	if err := qnetd.Missing(); err != nil {
		t.Skipf("needs corosync-qnetd: %v", err)
	}
	s := rackOf(t)
	// A port that the kernel gives away may be another process's in a moment; it gives none below 32768.
	s.vote = &qnetd.Server{Dir: filepath.Join(t.TempDir(), "qnetd"), Listen: "127.0.0.1", Port: 20000 + os.Getpid()%10000}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.runVote(ctx) }() // ends with ctx
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	for range 2 {
		if s.vote.PID() != 0 {
			t.Error("it runs though there is no pair")
		}
		change(t, s, func(tx roles.Tx) error {
			return tx.Pools().Put(roles.Pool{Name: "storage", Role: "storage", Pair: &roles.PairSpec{}})
		})
		until("it does not run", s.vote.Up)
		change(t, s, func(tx roles.Tx) error { return tx.Pools().Delete("storage") })
		until("it does not end", func() bool { return s.vote.PID() == 0 })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
