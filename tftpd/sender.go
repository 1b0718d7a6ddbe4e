package tftpd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// sender sends packets in windows and waits for their acknowledgement: one window at a time, of which
// lock-step is the one with a single packet, and the OACK the one that ACK 0 answers.
type sender struct {
	flow Flow
	// wait is the time before the first retransmission, maxWait the longest between two, retries how
	// many there are in a row before the client is given up.
	wait, maxWait time.Duration
	retries       int

	// next is the number of the first block of the next window; 1 is the file's first.
	next uint64
	// fresh is the first block that was never sent.
	fresh uint64
	// rtt is the shortest time in which a whole window was acknowledged; 0 before the first.
	rtt time.Duration
	// leftovers says that blocks of the window before this one were sent more than once, so that
	// late ACKs of it may still come in.
	leftovers bool
	// hear is called whenever the client has acknowledged something.
	hear func()
	// retransmissions counts packets that were sent more than once.
	retransmissions int

	in      [512]byte // a client's packet; only ERROR texts are longer, and cut
	headers []byte
	packets []Datagram
}

// file sends all of b in windows of so many blocks, and adds what was acknowledged to bytes.
func (s *sender) file(ctx context.Context, b *blocks, window int, bytes *int64) error {
	s.headers = make([]byte, window*headerLen)
	s.packets = make([]Datagram, window)
	s.next = 1
	for {
		n, last, err := b.ready(window)
		if err != nil {
			return err
		}
		for i := range n {
			h := s.headers[i*headerLen : (i+1)*headerLen]
			binary.BigEndian.PutUint16(h, opData)
			binary.BigEndian.PutUint16(h[2:], wire(s.next+uint64(i)))
			s.packets[i] = Datagram{h, b.block(i)}
		}
		acked, err := s.window(ctx, s.packets[:n])
		if err != nil {
			return err
		}
		for _, p := range s.packets[:acked] {
			*bytes += int64(len(p[1]))
		}
		if last && acked == n {
			return nil
		}
		b.ack(acked)
		s.next += uint64(acked)
	}
}

// oack sends an option acknowledgement until ACK 0 answers it.
func (s *sender) oack(ctx context.Context, p []byte) error {
	s.next = 0
	_, err := s.window(ctx, []Datagram{{p}})
	s.fresh, s.rtt = 0, 0 // a window of data takes longer than this one packet
	return err
}

// wire is the block number as packets carry it: beyond 65,535 it goes on at 0. RFC 1350 does not say, but
// that is what clients expect.
func wire(block uint64) uint16 { return uint16(block) }

// window sends packets, which begin with block s.next, until the client acknowledges at least the first,
// and returns how many it did. The rest belongs to the next window (RFC 7440 §4: it begins with the block
// after the last one acknowledged).
func (s *sender) window(ctx context.Context, packets []Datagram) (int, error) {
	wait, tries, asked := s.wait, 0, false
	for {
		start, err := s.send(ctx, packets, wait)
		if err != nil {
			return 0, err
		}
		n, err := s.acknowledged(ctx, len(packets), start, !asked)
		switch {
		case n > 0:
			s.hear()
			clean := n == len(packets) && tries == 0 && !asked
			if d := time.Since(start); clean && (s.rtt == 0 || d < s.rtt) {
				s.rtt = d // Karn: after a second sending nobody knows which one was answered
			}
			s.leftovers = !clean
			return n, nil
		case err == nil:
			asked = true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case tries == s.retries:
			return 0, fmt.Errorf("%w: block %d was sent %d times", ErrTimeout, s.next, tries+1)
		default:
			tries, asked = tries+1, false
			wait = min(2*wait, s.maxWait)
		}
	}
}

// send sends a window once, and sets the deadline for its answer.
func (s *sender) send(ctx context.Context, packets []Datagram, wait time.Duration) (time.Time, error) {
	now := time.Now()
	if err := s.flow.SetDeadline(now.Add(wait)); err != nil {
		return now, err
	}
	// Asked after the deadline is set: whoever cancels sets it to the past afterwards.
	if ctx.Err() != nil {
		return now, context.Cause(ctx)
	}
	top := s.next + uint64(len(packets))
	if again := min(s.fresh, top); again > s.next {
		s.retransmissions += int(again - s.next)
	}
	s.fresh = max(s.fresh, top)
	return now, s.flow.Send(packets)
}

// acknowledged waits for an ACK of one of the n blocks of the window that was sent at start, and returns how
// many blocks it covers. 0 without an error means that the client asks for the whole window again, which
// it may do when again is true. Other packets are ignored and do not put the deadline off.
//
// Above all, with a window of 1 the ACK of the block before is ignored: answering it would double
// every packet from there on (RFC 1123 §4.2.3.1, the sorcerer's apprentice). In a larger window it is how
// a client says that the first block was lost, so it is answered, but once. Where blocks of the window
// before were sent twice, their second ACKs look the same: then only an answer that comes as late as
// an answer to this window can come is taken for one.
func (s *sender) acknowledged(ctx context.Context, n int, start time.Time, again bool) (int, error) {
	for {
		size, err := s.flow.Receive(s.in[:])
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
		block, ok, err := parseAnswer(s.in[:size])
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		for i := range n {
			if block == wire(s.next+uint64(i)) {
				return i + 1, nil
			}
		}
		lost := again && n > 1 && block == wire(s.next-1)
		if lost && (!s.leftovers || time.Since(start) >= s.rtt) {
			return 0, nil
		}
	}
}
