package tftpd

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestDelayAndLoss: on a path of 5 ms that loses one packet of a hundred in each direction, a window of 16 takes not twice
// as long as without loss: no block waits for the client's timer, and what the client has twice does not make
// everything be sent twice from there on.
func TestDelayAndLoss(t *testing.T) {
	const size, way, blksize, window = 5 << 20, 5 * time.Millisecond, 1428, 16
	const lossless = size / (blksize * window) * 2 * way
	for seed := range uint64(5) {
		inMemory(t, one(size), func(t *testing.T, n *memNet, ended ends) {
			rnd, last := rand.New(rand.NewPCG(seed, 7)), time.Now()
			n.travel = func([]byte) []time.Duration {
				if rnd.IntN(100) < 1 {
					return nil
				}
				// One after the other: this path does not reorder.
				if last = last.Add(time.Microsecond); time.Until(last) < way {
					last = time.Now().Add(way)
				}
				return []time.Duration{time.Until(last)}
			}
			if _, err := n.client(t, 1).fetch("f", window, "blksize", "1428", "windowsize", "16"); err != nil {
				t.Fatal(err)
			}
			if tr := ended.nextInBubble(t); tr.Duration > 2*lossless && tr.Err == nil {
				t.Errorf("seed %d: %v, want less than twice %v; %d packets again", seed, tr.Duration, lossless, tr.Retransmissions)
			}
		})
	}
}
