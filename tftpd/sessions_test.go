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

// TestBusy: beyond MaxTransfers a request is met with silence, and served when it comes again after one has
// ended.
func TestBusy(t *testing.T) {
	srv := one(10)
	srv.MaxTransfers = 2
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		a, b, c := n.client(t, 1), n.client(t, 2), n.client(t, 3)
		a.read("f")
		b.read("f")
		a.want("DATA 1 10")
		b.want("DATA 1 10")
		c.read("f")
		c.silent()
		a.ack(1)
		ended.next(t)
		c.silent()
		c.read("f")
		c.want("DATA 1 10")
	})
}

// TestManyHalfOpen: a thousand requests that nobody follows up hold their places for 31 s and no longer.
func TestManyHalfOpen(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		for port := range uint16(defaultMaxTransfers + 10) {
			n.client(t, port+1).read("f", "timeout", "255")
		}
		c := n.client(t, 60000)
		c.silent()
		if n.open() != defaultMaxTransfers {
			t.Errorf("%d transfers, want %d", n.open(), defaultMaxTransfers)
		}
		time.Sleep(32 * time.Second)
		c.read("f")
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
