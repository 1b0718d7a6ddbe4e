package tftpd

import (
	"testing"
	"time"
)

// TestQuirks: what a client's firmware cannot do is not agreed on.
func TestQuirks(t *testing.T) {
	srv := one(10)
	srv.Quirks = func(p Peer, _ string) Quirks {
		if p.Remote.Port() == 1 {
			return Quirks{MaxBlksize: 1024, MaxWindow: 1}
		}
		return Quirks{MaxWindow: 8}
	}
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		a, b := n.client(t, 1), n.client(t, 2)
		a.read("f", "blksize", "1400", "windowsize", "16")
		b.read("f", "blksize", "1400", "windowsize", "16")
		a.want("OACK blksize=1024")
		b.want("OACK blksize=1400 windowsize=8")
	})
}

// TestWeakClient: a client that loses every window is offered a smaller one for its next file, for a while.
func TestWeakClient(t *testing.T) {
	inMemory(t, one(200*512), func(t *testing.T, n *memNet, ended ends) {
		bad := true
		var last time.Time
		n.travel = func(p []byte) []time.Duration {
			if len(p) < 400 || !bad {
				return []time.Duration{0}
			}
			defer func() { last = time.Now() }()
			if time.Since(last) < minGap { // room for one packet
				return nil
			}
			return []time.Duration{0}
		}
		if _, err := n.client(t, 1).fetch("f", 16, "windowsize", "16"); err != nil {
			t.Fatal(err)
		}
		ended.nextInBubble(t)
		bad = false
		c := n.client(t, 2)
		c.read("f", "windowsize", "16")
		c.want("OACK windowsize=4")
		c.send(errorPacket(0, "enough"))
		ended.next(t)
		time.Sleep(weakTime + time.Second)
		c.read("f", "windowsize", "16")
		c.want("OACK windowsize=16")
	})
}
