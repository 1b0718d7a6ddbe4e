package tftpd

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// TestPace: a client whose card takes 8 packets and loses the rest of a window of 32 has the file with few packets sent
// twice: after some windows the server has learned it.
func TestPace(t *testing.T) {
	const size, ring, each = 4000 * 512, 8, 100 * time.Microsecond
	inMemory(t, one(size), func(t *testing.T, n *memNet, ended ends) {
		var idle time.Time // when the client will have taken all that is in the ring
		n.travel = func(p []byte) []time.Duration {
			if len(p) < 400 {
				return []time.Duration{0}
			}
			left := max(0, time.Until(idle))
			if left > (ring-1)*each {
				return nil
			}
			idle = time.Now().Add(left + each)
			return []time.Duration{left + each}
		}
		got, err := n.client(t, 1).fetch("f", 32, "windowsize", "32")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, got, content(size))
		// Without pacing three of four packets are lost: 12,000.
		if tr := ended.next(t); tr.Err != nil || tr.Retransmissions > 600 {
			t.Errorf("observed %+v", tr)
		}
	})
}

// TestPaceRecovers: the pace of a path that lost some windows and then no more is as before.
func TestPaceRecovers(t *testing.T) {
	p := newPace(16)
	for range 5 * losses {
		p.lost()
	}
	if p.burst != 1 || p.gap != 2*minGap {
		t.Fatalf("burst %d, gap %v", p.burst, p.gap)
	}
	for range 5 * maxWholes {
		p.whole()
	}
	if p.burst != 16 || p.gap != minGap {
		t.Errorf("burst %d, gap %v", p.burst, p.gap)
	}
	for range 1000 { // chance
		p.lost()
		p.whole()
		p.lost()
		p.whole()
	}
	if p.burst != 16 {
		t.Errorf("burst %d", p.burst)
	}
}

// sink is a Flow that loses everything.
type sink struct{ Flow }

func (sink) Send([]Datagram) error { return nil }

// TestPaceIsNoLoss: a window that takes long as it is sent in parts is not sent again before its end was sent.
func TestPaceIsNoLoss(t *testing.T) {
	const window = 64
	s := &sender{flow: sink{}, hear: func(time.Time) {}, wait: defaultTimeout, maxWait: maxBackoff, retries: defaultRetries,
		window: window, blocks: newBlocks(bytes.NewReader(content(3*window*512)), 512, window)}
	ack := func(now time.Time, block uint16) {
		s.Receive(now, binary.BigEndian.AppendUint16([]byte{0, opAck}, block))
	}
	feed := func(now time.Time) {
		if s.State().Hungry {
			s.Feed()
			s.Resume(now)
		}
	}
	now := time.Unix(1000, 0)
	s.Begin(now)
	feed(now)
	s.pace.burst, s.pace.gap = 1, maxGap // a path that has lost a lot
	now = now.Add(time.Millisecond)
	ack(now, window)
	feed(now)
	begun := now
	for s.next+uint64(s.sent) <= 2*window {
		now = s.State().Deadline
		s.Expire(now)
	}
	if took := now.Sub(begun); s.retransmissions != 0 || took != (window-1)*maxGap {
		t.Errorf("sent in %v, %d packets more than once", took, s.retransmissions)
	}
	if again := s.State().Deadline.Sub(now); again != minTimeout {
		t.Errorf("sent again after %v, want %v", again, minTimeout)
	}
	ack(now.Add(time.Millisecond), 2*window)
	if s.bytes != 2*window*512 || s.lossy {
		t.Errorf("%d bytes, lossy %v", s.bytes, s.lossy)
	}
}
