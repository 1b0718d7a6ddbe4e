package tftpd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// one is an FS with one file "f" of n bytes.
func one(n int) *Server { return &Server{FS: files(map[string][]byte{"f": content(n)})} }

// TestLockStep: a transfer without options, to the empty block that ends a file of whole blocks.
func TestLockStep(t *testing.T) {
	inMemory(t, one(1024), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		for b, size := range []int{512, 512, 0} {
			c.want(fmt.Sprintf("DATA %d %d", b+1, size))
			c.silent()
			c.ack(b + 1)
		}
		tr := ended.next(t)
		if tr.Err != nil || tr.Bytes != 1024 || tr.Blksize != 512 || tr.Windowsize != 1 || tr.Retransmissions != 0 ||
			tr.Remote != c.addr || tr.Local != memServer {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestGiveUp: the waits double up to 8 s, then the client is told and its place is free.
func TestGiveUp(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		c, start := n.client(t, 1), time.Now()
		c.read("f")
		for _, at := range []int{0, 1, 3, 7, 15, 23} {
			c.want("DATA 1 10")
			if got := time.Since(start); got != time.Duration(at)*time.Second {
				t.Errorf("sent after %v, want %d s", got, at)
			}
		}
		c.want("ERROR 0 no acknowledgement received")
		tr := ended.next(t)
		if !errors.Is(tr.Err, ErrTimeout) || tr.Duration != 31*time.Second || tr.Retransmissions != 5 || tr.Bytes != 0 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestPatience: the server's own fields.
func TestPatience(t *testing.T) {
	srv := one(10)
	srv.Timeout, srv.Retries = 20*time.Second, 2
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		n.client(t, 1).read("f")
		if tr := ended.nextInBubble(t); tr.Duration != 60*time.Second {
			t.Errorf("given up after %v, want 3 times 20 s", tr.Duration)
		}
	})
	srv = one(10)
	srv.Retries = -1
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		n.client(t, 1).read("f")
		if tr := ended.nextInBubble(t); tr.Duration != time.Second || tr.Retransmissions != 0 {
			t.Errorf("without retries: %+v", tr)
		}
	})
}

// TestTimeoutOption: the client's timeout holds, without doubling, but only once it has shown that it exists.
func TestTimeoutOption(t *testing.T) {
	inMemory(t, one(10), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "timeout", "100")
		c.want("OACK timeout=100", "OACK timeout=100")
		c.ack(0)
		c.want("DATA 1 10")
		for range 3 {
			sent := time.Now()
			c.want("DATA 1 10")
			if got := time.Since(sent); got != 100*time.Second {
				t.Errorf("sent again after %v, want 100 s", got)
			}
		}
		c.ack(1)
		if tr := ended.next(t); tr.Err != nil || tr.Retransmissions != 4 {
			t.Errorf("observed %+v", tr)
		}
		c = n.client(t, 2)
		c.read("f", "timeout", "255")
		if tr := ended.nextInBubble(t); tr.Duration != 31*time.Second {
			t.Errorf("half-open for %v, want 31 s", tr.Duration)
		}
	})
}

// TestApprentice: in lock-step no duplicate makes anything be sent, so that one does not double the rest.
func TestApprentice(t *testing.T) {
	inMemory(t, one(2000), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f")
		c.want("DATA 1 512")
		c.ack(1)
		c.want("DATA 2 512")
		c.ack(1)
		c.ack(1)
		c.silent()
		c.want("DATA 2 512") // the timer
		c.ack(2)
		c.ack(2)
		c.want("DATA 3 512")
		c.silent()
		c.ack(3)
		c.want("DATA 4 464")
		c.ack(4)
		if tr := ended.next(t); tr.Err != nil || tr.Retransmissions != 1 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestWindow: RFC 7440 §4.
func TestWindow(t *testing.T) {
	inMemory(t, one(12*512+100), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "4")
		c.want("OACK windowsize=4")
		c.silent()
		c.ack(0)
		c.wantData(1, 4, 512)
		c.silent()
		c.ack(4)
		c.wantData(5, 8, 512)
		c.ack(6) // 7 was lost: go on after the last one acknowledged
		c.wantData(7, 10, 512)
		c.silent()
		c.ack(10)
		c.wantData(11, 12, 512)
		c.want("DATA 13 100")
		c.silent()
		c.ack(13)
		if tr := ended.next(t); tr.Err != nil || tr.Retransmissions != 2 || tr.Windowsize != 4 || tr.Bytes != 12*512+100 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestWindowFirstLost: the ACK of the block before asks for the window again, once; what comes after it is
// answered by the timer.
func TestWindowFirstLost(t *testing.T) {
	inMemory(t, one(100*512), func(t *testing.T, n *memNet, _ ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "4")
		c.want("OACK windowsize=4")
		c.ack(0)
		c.wantData(1, 4, 512)
		c.ack(4)
		c.wantData(5, 8, 512)
		c.ack(4)
		c.wantData(5, 8, 512)
		for range 3 {
			c.ack(4)
		}
		c.silent()
		c.wantData(5, 8, 512) // the timer
		now := time.Now()
		c.ack(4)
		c.wantData(5, 8, 512)
		if time.Since(now) >= minTimeout { // paced by now, but not as late as the timer
			t.Error("after a retransmission the client must wait for the timer again")
		}
		c.ack(8)
		c.wantData(9, 12, 512)
	})
}

// TestWindowLeftovers: when blocks were sent twice, the second ACK of them does not send the next window twice,
// and that one's not the one after it.
func TestWindowLeftovers(t *testing.T) {
	inMemory(t, one(100*512), func(t *testing.T, n *memNet, _ ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "4")
		c.want("OACK windowsize=4")
		c.ack(0)
		c.wantData(1, 4, 512)
		time.Sleep(10 * time.Millisecond) // the path's round trip
		c.ack(4)
		c.wantData(5, 8, 512)
		c.ack(4) // a duplicate that the network made, or a loss: the server cannot know
		c.wantData(5, 8, 512)
		c.ack(8)
		c.ack(8) // the answer to the second copy
		c.wantData(9, 12, 512)
		c.silent()
		// Here 9 was lost as well: this ACK comes late enough to be an answer.
		time.Sleep(10 * time.Millisecond)
		c.ack(8)
		c.wantData(9, 12, 512)
		c.silent()
	})
}

// TestWindowShorter: a file that ends in the first window.
func TestWindowShorter(t *testing.T) {
	inMemory(t, one(0), func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "64", "tsize", "0")
		c.want("OACK windowsize=64 tsize=0")
		c.ack(0)
		c.want("DATA 1 0")
		c.ack(1)
		if tr := ended.next(t); tr.Err != nil {
			t.Error(tr.Err)
		}
	})
}

// TestStrayPackets: what is no ACK of this window changes nothing, and does not put the timer off.
func TestStrayPackets(t *testing.T) {
	inMemory(t, one(100*512), func(t *testing.T, n *memNet, _ ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "2")
		c.want("OACK windowsize=2")
		c.ack(0)
		c.wantData(1, 2, 512)
		c.ack(2)
		c.wantData(3, 4, 512)
		sent := time.Now()
		time.Sleep(60 * time.Millisecond)
		for _, block := range []int{0, 1, 5, 6, 65535, 32768} {
			c.ack(block)
		}
		for _, p := range []string{"", "\x00", "\x00\x04\x00", "\x00\x03\x00\x03x", "\x00\x06a\x00b\x00", "\xff\xff\xff\xff",
			"\x00\x01f\x00octet\x00", strings.Repeat("\x00", 2000)} {
			c.send([]byte(p))
		}
		c.silent()
		c.wantData(3, 4, 512)
		if got := time.Since(sent); got != minTimeout {
			t.Errorf("sent again after %v, want %v", got, minTimeout)
		}
		c.ack(4)
		c.wantData(5, 6, 512)
	})
}

// TestReorderedAcks: an ACK that was overtaken by a later one is old news.
func TestReorderedAcks(t *testing.T) {
	inMemory(t, one(100*512), func(t *testing.T, n *memNet, _ ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "4")
		c.want("OACK windowsize=4")
		c.ack(0)
		c.wantData(1, 4, 512)
		c.ack(4) // sent after ACK 2, and here before it
		c.ack(2)
		c.wantData(5, 8, 512)
		c.silent()
	})
}

// TestRollover: block numbers go on at 0 after 65,535, in lock-step and with a window across it.
func TestRollover(t *testing.T) {
	const size = 140_000*8 + 3
	for _, window := range []int{1, 64} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			inMemory(t, one(size), func(t *testing.T, n *memNet, _ ends) {
				blocks := 0
				n.travel = func(p []byte) []time.Duration {
					// Every packet around the rollover is lost once.
					if blocks++; len(p) > 4 && (p[2] == 0xff || p[2] == 0) && blocks%5 == 0 {
						return nil
					}
					return []time.Duration{0}
				}
				got, err := n.client(t, 1).fetch("f", window, "blksize", "8", "windowsize", fmt.Sprint(window))
				if err != nil {
					t.Fatal(err)
				}
				equal(t, got, content(size))
			})
		})
	}
}

// TestRolloverToOne: firmware that wants block 1 after 65,535.
func TestRolloverToOne(t *testing.T) {
	srv := one(70_000 * 8)
	srv.Quirks = func(p Peer, file string) Quirks {
		if file == "f" && p.Local == memServer {
			return Quirks{Rollover: 1}
		}
		return Quirks{}
	}
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "blksize", "8")
		c.want("OACK blksize=8")
		c.ack(0)
		wire := 0
		for block := 1; block <= 70_000; block++ {
			if wire++; wire > 65535 {
				wire = 1
			}
			c.want(fmt.Sprintf("DATA %d 8", wire))
			c.ack(wire)
		}
		c.want("DATA 4466 0")
		c.ack(4466)
		if tr := ended.next(t); tr.Err != nil || tr.Bytes != 70_000*8 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestBadNetwork: loss, duplication and reordering of whatever is sent, in many orders; the file is whole.
func TestBadNetwork(t *testing.T) {
	const size = 300_000
	want := content(size)
	for _, window := range []int{1, 2, 16, 64} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("window %d seed %d", window, seed), func(t *testing.T) {
				srv := one(size)
				srv.Retries = 20 // a tenth lost in both directions: runs of bad luck must not end it
				inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
					rnd := rand.New(rand.NewPCG(seed, 7))
					n.travel = func([]byte) []time.Duration {
						delay := func() time.Duration { return time.Duration(1+rnd.IntN(9)) * time.Millisecond }
						switch dice := rnd.IntN(100); {
						case dice < 10:
							return nil
						case dice < 15:
							return []time.Duration{delay(), delay()}
						}
						return []time.Duration{delay()}
					}
					got, err := n.client(t, 1).fetch("f", window, "blksize", "1428", "windowsize", fmt.Sprint(window))
					if err != nil {
						t.Fatal(err)
					}
					equal(t, got, want)
					// The last ACK may be lost, then the server cannot know; but it sent everything.
					if tr := ended.nextInBubble(t); tr.Bytes < size-int64(window)*1428 {
						t.Errorf("observed %+v", tr)
					}
				})
			})
		}
	}
}

// nextInBubble is next for a bubble: its deadline is one of the bubble's time.
func (e ends) nextInBubble(t *testing.T) Transfer {
	t.Helper()
	select {
	case tr := <-e:
		return tr
	case <-time.After(24 * time.Hour):
		t.Fatal("no transfer ended")
		return Transfer{}
	}
}
