package serve

import (
	"context"
	"net"
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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rackOf(t)
	s.vote = &qnetd.Server{Dir: filepath.Join(t.TempDir(), "qnetd"), Listen: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port}
	ln.Close()
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
