package tftpd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeatedRequest: a request that comes again before the client was heard starts nothing new.
func TestRepeatedRequest(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 10")
		c.read("f")
		c.read("f")
		c.silent()
		if n.open() != 1 {
			t.Errorf("%d transfers, want 1", n.open())
		}
		c.ack(1)
		if tr := ended.next(t); tr.Err != nil {
			t.Error(tr.Err)
		}
	})
}

// TestLateRepetition: a repetition that a busy server reads only when the transfer is under way does not end it:
// the client follows that one.
func TestLateRepetition(t *testing.T) {
	inMemory(t, one(2000), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 512")
		c.ack(1)
		c.want("DATA 2 512")
		c.read("f")
		c.silent()
		time.Sleep(90 * time.Millisecond)
		c.read("f")
		c.silent()
		c.ack(2)
		c.want("DATA 3 512")
		c.ack(3)
		c.want("DATA 4 464")
		c.ack(4)
		if tr := ended.next(t); tr.Err != nil {
			t.Error(tr.Err)
		}
	})
}

// TestBeginAgain: a ROM that was reset asks from the same port, and gets the file from its beginning; the old
// transfer does not disturb it. So does one that asks for the size first, and whose ERROR was lost.
func TestBeginAgain(t *testing.T) {
	inMemory(t, one(2000), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 512")
		c.ack(1)
		for range 6 { // at 0, 0.1, 0.3, 0.7, 1 and 3 s
			c.want("DATA 2 512")
		}
		time.Sleep(500 * time.Millisecond) // quiet for 3.5 s now
		old := c.flow

		c.read("f")
		c.want("DATA 1 512")
		if c.flow == old {
			t.Error("the new transfer has the old one's port")
		}
		if tr := ended.next(t); !errors.Is(tr.Err, ErrSuperseded) {
			t.Errorf("observed %+v", tr)
		}
		c.read("f", "tsize", "0")
		c.want("OACK tsize=2000")
		c.read("f", "blksize", "1000")
		c.want("OACK blksize=1000")
		c.ack(0)
		c.want("DATA 1 1000")
		c.silent()
		if n.open() != 1 {
			t.Errorf("%d transfers, want 1", n.open())
		}
	})
}

// TestQueue: beyond MaxTransfers a request waits, and is served when one has ended; a repetition changes nothing.
func TestQueue(t *testing.T) {
	srv := one(10)
	srv.MaxTransfers = 2
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		a, b, c := n.clientAt(t, 1, 1), n.clientAt(t, 2, 1), n.clientAt(t, 3, 1)
		a.read("f")
		b.read("f")
		a.want("DATA 1 10")
		b.want("DATA 1 10")
		c.read("f")
		c.read("f")
		c.silent()
		a.ack(1)
		ended.next(t)
		c.want("DATA 1 10")
		c.silent()
		if n.open() != 2 {
			t.Errorf("%d transfers, want 2", n.open())
		}
		c.ack(1)
		ended.next(t)
		b.ack(1)
		ended.next(t)
	})
}

// TestFairQueue: a client that asks for a lot has one place in turn with the others, and never more than its part.
func TestFairQueue(t *testing.T) {
	srv := one(10)
	srv.MaxTransfers, srv.MaxPerClient = 4, 2
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		var greedy []*memClient
		for port := range uint16(4) {
			c := n.clientAt(t, 1, port+1)
			c.read("f")
			greedy = append(greedy, c)
		}
		late := n.clientAt(t, 1, 9)
		late.read("f") // its address has two places, and two requests that wait
		greedy[0].want("DATA 1 10")
		greedy[1].want("DATA 1 10")
		greedy[2].silent()
		if n.open() != 2 {
			t.Errorf("%d transfers, want 2", n.open())
		}
		a, b, c := n.clientAt(t, 2, 1), n.clientAt(t, 3, 1), n.clientAt(t, 4, 1)
		for _, m := range []*memClient{a, b, c} {
			m.read("f")
		}
		a.want("DATA 1 10")
		b.want("DATA 1 10")
		c.silent()
		greedy[0].ack(1)
		ended.next(t)
		greedy[2].want("DATA 1 10") // it asked before c
		c.silent()
		a.ack(1)
		ended.next(t)
		c.want("DATA 1 10")
		greedy[3].silent()
		late.silent()
	})
}

// TestForgotten: a request that waited for so long that its client has given up is not served.
func TestForgotten(t *testing.T) {
	srv := one(2000)
	srv.MaxTransfers = 1
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		a, b := n.clientAt(t, 1, 1), n.clientAt(t, 2, 1)
		a.read("f", "timeout", "60")
		a.want("OACK timeout=60")
		a.ack(0)
		a.want("DATA 1 512")
		b.read("f")
		time.Sleep(patient + time.Second)
		a.send(errorPacket(0, "enough"))
		ended.next(t)
		b.silent()
		if n.open() != 0 {
			t.Errorf("%d transfers, want none", n.open())
		}
	})
}

// TestManyHalfOpen: a thousand requests that nobody follows up do not stop the next machine.
func TestManyHalfOpen(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		for i := range uint16(2 * defaultMaxTransfers) {
			n.clientAt(t, byte(i%200), i/200+1).read("f", "timeout", "255")
		}
		c := n.clientAt(t, 250, 1)
		c.silent()
		if n.open() != defaultMaxTransfers {
			t.Errorf("%d transfers, want %d", n.open(), defaultMaxTransfers)
		}
		time.Sleep(halfOpen)
		asked := time.Now()
		for len(c.in) == 0 { // as firmware does
			c.read("f")
			time.Sleep(time.Second)
		}
		if waited := time.Since(asked); waited > 10*time.Second {
			t.Errorf("served after %v", waited)
		}
		c.want("DATA 1 10")
		c.ack(1)
	})
}

// TestForgedAddress: requests that somebody makes in a machine's name take all places of its address, but not for long.
func TestForgedAddress(t *testing.T) {
	srv := one(10)
	srv.MaxPerClient = 4
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		for port := range uint16(8) { // half of them wait
			n.clientAt(t, 1, port+1).read("f", "timeout", "255")
		}
		c := n.clientAt(t, 1, 99)
		asked := time.Now()
		for len(c.in) == 0 && time.Since(asked) < 20*time.Second { // as firmware does
			c.read("f")
			time.Sleep(time.Second)
		}
		if waited := time.Since(asked); waited > 5*time.Second {
			t.Fatalf("not served in %v", waited)
		}
		c.want("DATA 1 10")
		c.ack(1)
	})
}

// TestStop: clients of a server that stops are told, so that they can turn to another one.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, ended := newMemNet(), make(ends, queue)
		srv := one(10)
		srv.Observe = func(tr Transfer) { ended <- tr }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ctx, n) }()
		a, b := n.client(t, 1), n.client(t, 2)
		a.read("f")
		b.read("f", "tsize", "0")
		a.want("DATA 1 10")
		b.want("OACK tsize=10")
		cancel()
		a.want("ERROR 0 server is stopping")
		b.want("ERROR 0 server is stopping")
		if err := <-done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
		for range 2 { // Serve has waited for them
			if tr := <-ended; !errors.Is(tr.Err, errStopping) {
				t.Errorf("observed %+v", tr)
			}
		}
	})
}

// TestNoRequest: packets to the well-known port that ask for nothing get no answer.
func TestNoRequest(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		for _, p := range []string{"", "\x00", "\x00\x01", "\x00\x04\x00\x01", "\x00\x05\x00\x01x\x00", "\x00\x06", "\x01\x00f\x00octet\x00", "\x00\x07"} {
			c.raw([]byte(p))
		}
		c.silent()
		zero := n.client(t, 0)
		zero.read("f")
		zero.silent()
		if n.open() != 0 || len(ended) != 0 {
			t.Errorf("%d transfers open, %d ended", n.open(), len(ended))
		}
	})
}
