package bench

import (
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestDHCPKill kills the server under load and starts it again, and looks from the clients' side: no address is
// acknowledged to two of them, and each is offered its own again. What the server forgot would be the first that it
// gives to the next client. MUSTER_DHCP_KILLS is the number of rounds.
func TestDHCPKill(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	rounds := 5 // 200 of them take some 150,000 of the 261,883 addresses
	if n, err := strconv.Atoi(os.Getenv("MUSTER_DHCP_KILLS")); err == nil {
		rounds = n
	}
	bin := musterBinary(t)
	w, err := newCable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	l, err := newLoad(w.clients, net.ParseIP(relayAddr), net.ParseIP(serverAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	l.linger = 200 * time.Millisecond // what comes later is not counted as acknowledged
	dir, killed := t.TempDir(), 0
	for round := range rounds {
		s, err := startDHCP(w, "muster", dir, largeRange, bin)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan loadResult)
		enough := make(chan struct{})
		go func() { done <- l.closed(t.Context(), 64, 100, time.Minute) }() // warms up, and proves that it answers
		first := <-done
		go func() { done <- l.until(enough) }()
		time.AfterFunc(time.Duration(10+rand.IntN(100))*time.Millisecond, func() {
			_ = s.cmd.Process.Kill()
			close(enough)
		})
		res := <-done
		_ = s.cmd.Wait()
		if res.begun > res.acked {
			killed++
		}
		if (round+1)%50 == 0 {
			t.Logf("%d rounds, %d leases", round+1, len(l.holders))
		}
		if first.twice+res.twice > 0 {
			t.Fatalf("round %d: %d addresses were acknowledged to two clients", round, first.twice+res.twice)
		}
	}
	if killed == 0 {
		t.Error("no exchange was under way when the server was killed: this test shows nothing")
	}
	s, err := startDHCP(w, "muster", dir, largeRange, bin)
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	want, checked := map[uint32]uint32{}, 0
	check := func() {
		wrong, silent := l.offered(want)
		if wrong+silent > 0 {
			t.Errorf("of %d clients %d are offered another address than theirs, %d none", len(want), wrong, silent)
		}
		checked += len(want)
		clear(want)
	}
	for a, client := range l.holders {
		if want[client] = a; len(want) == 500 {
			check()
		}
	}
	check()
	t.Logf("%d rounds, %d of them with exchanges under way, %d leases, all of them kept", rounds, killed, checked)
}
