package tftpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// sender sends a file in windows and waits for their acknowledgement: one window at a time, of which lock-step is the
// one with a single packet, and the OACK the one that ACK 0 answers. It is an Exchange: it never waits itself.
type sender struct {
	flow   Flow
	blocks *blocks
	window int
	// wait is the time before the first retransmission, maxWait the longest between two, retries how many there
	// are in a row before the client is given up.
	wait, maxWait time.Duration
	retries       int
	// exact says that the client has said how long to wait: nothing is sent again before.
	exact bool
	// rollover is the number after 65,535.
	rollover uint16
	// hear is called whenever the client has acknowledged something.
	hear func(now time.Time)
	// agreed is called when the OACK is acknowledged. Nil means that there is none to be sent.
	oack   []byte
	agreed func()

	// next is the number of the first block of this window; 1 is the file's first.
	next uint64
	// fresh is the first block that was never sent.
	fresh uint64
	// packets are this window's, of which the first sent ones were sent; last says that the file's end is among them.
	packets []Datagram
	headers []byte
	sent    int
	last    bool
	timer   timer
	pace    pace
	rtt     rtt
	// asked says that the client has asked for this window again, leftovers that blocks of the window before were
	// sent more than once, so that late ACKs of it may still come in.
	asked, leftovers bool
	lossy            bool // this window did not arrive whole
	// doubled says that blocks were sent again before the client asked, and no window has arrived whole since.
	doubled bool

	// bytes that were acknowledged; retransmissions counts packets that were sent more than once.
	bytes           int64
	retransmissions int

	hungry, done bool
	err          error
}

// Begin implements Exchange.
func (s *sender) Begin(now time.Time) {
	if s.oack != nil {
		s.packets = []Datagram{{s.oack}}
		s.transmitFirst(now)
		return
	}
	s.file(now)
}

// file begins with the first block.
func (s *sender) file(now time.Time) {
	s.headers = make([]byte, s.window*headerLen)
	s.packets = make([]Datagram, 0, s.window)
	s.pace = newPace(s.window)
	s.next, s.fresh, s.leftovers = 1, 0, false
	s.oack = nil
	s.advance(now)
}

// State implements Exchange.
func (s *sender) State() State {
	return State{Deadline: s.timer.next(), Hungry: s.hungry, Done: s.done, Err: s.err}
}

// Feed implements Exchange.
func (s *sender) Feed() { s.blocks.feed(s.window) }

// Resume implements Exchange.
func (s *sender) Resume(now time.Time) {
	s.hungry = false
	s.advance(now)
}

// Fail implements Exchange.
func (s *sender) Fail(err error) { s.done, s.err = true, err }

// advance sends the window that begins with block next.
func (s *sender) advance(now time.Time) {
	n, last, err := s.blocks.ready(s.window)
	switch {
	case errors.Is(err, errHungry):
		s.hungry, s.timer = true, timer{}
		return
	case err != nil:
		s.Fail(err)
		return
	}
	// What the client has twice it may acknowledge twice, in the middle of the next window. If new blocks were sent
	// along with repeated ones, that would go on for ever, and everything be sent twice.
	if again := int(s.fresh - min(s.fresh, s.next)); s.doubled && again > 0 && again < n {
		n, last = again, false
	}
	s.packets, s.last = s.packets[:n], last
	for i := range n {
		h := s.headers[i*headerLen : (i+1)*headerLen]
		binary.BigEndian.PutUint16(h, opData)
		binary.BigEndian.PutUint16(h[2:], s.wire(s.next+uint64(i)))
		s.packets[i] = Datagram{h, s.blocks.block(i)}
	}
	s.transmitFirst(now)
}

// wire is the block number as packets carry it. RFC 1350 does not say what comes after 65,535; 0 is what most clients
// expect.
func (s *sender) wire(block uint64) uint16 {
	if s.rollover == 0 || block <= 65535 {
		return uint16(block)
	}
	return uint16((block-1)%65535) + 1
}

// transmitFirst sends a window that is new.
func (s *sender) transmitFirst(now time.Time) {
	s.asked, s.lossy = false, false
	s.timer.begin(now, s.wait)
	s.transmit(now)
}

// transmit sends the window from its beginning.
func (s *sender) transmit(now time.Time) {
	s.sent = 0
	s.timer.short = time.Time{}
	s.burst(now)
}

// burst sends as much of the window as may be sent at once.
func (s *sender) burst(now time.Time) {
	n := len(s.packets) - s.sent
	if s.oack == nil {
		n = min(n, s.pace.burst)
	}
	first, top := s.next+uint64(s.sent), s.next+uint64(s.sent+n)
	if again := min(s.fresh, top); again > first {
		s.retransmissions += int(again - first)
	}
	s.fresh = max(s.fresh, top)
	if err := s.flow.Send(s.packets[s.sent : s.sent+n]); err != nil {
		s.Fail(err)
		return
	}
	s.sent += n
	s.timer.more = time.Time{}
	if s.sent < len(s.packets) {
		s.timer.more = now.Add(s.pace.gap)
		return
	}
	// Not before: no answer is due while the rest of a window is held back.
	if !s.exact && s.timer.tries == 0 {
		s.timer.soon(now, s.rtt.timeout())
	}
}

// Expire implements Exchange.
func (s *sender) Expire(now time.Time) {
	switch t := &s.timer; {
	case t.pause(now):
		s.burst(now)
	case t.due(now) && t.tries >= s.retries:
		s.Fail(fmt.Errorf("%w: block %d was sent %d times", ErrTimeout, s.next, t.sendings+1))
	case t.due(now):
		t.again(now, min(2*t.wait, s.maxWait))
		s.lost()
		s.asked, s.doubled = false, true
		s.transmit(now)
	case t.early(now):
		t.sendings++
		s.lost()
		s.asked, s.doubled = false, true
		s.transmit(now)
	}
}

// Receive implements Exchange. What is no ACK of this window is ignored and does not put the deadline off.
//
// Above all, with a window of 1 the ACK of the block before is ignored: answering it would double every packet from
// there on (RFC 1123 §4.2.3.1, the sorcerer's apprentice). In a larger window it is how a client says that the
// first block was lost, so it is answered, but once. Where blocks of the window before were sent twice, their second
// ACKs look the same: then only an answer that comes as late as an answer to this window can come is taken for one.
func (s *sender) Receive(now time.Time, p []byte) {
	block, ok, err := parseAnswer(p)
	if err != nil {
		s.Fail(err)
		return
	}
	if !ok || s.done || s.hungry {
		return
	}
	// What was sent the first time counts, even if the second is not there yet.
	for i := range min(uint64(len(s.packets)), s.fresh-s.next) {
		if block == s.wire(s.next+i) {
			s.acknowledged(now, int(i)+1)
			return
		}
	}
	lost := len(s.packets) > 1 && !s.asked && s.next > 0 && block == s.wire(s.next-1)
	if lost && (!s.leftovers || now.Sub(s.timer.sent) >= s.rtt.least) {
		s.asked = true
		s.lost()
		s.timer.restart(now)
		s.transmit(now)
	}
}

// acknowledged takes note that the client has the first n blocks of the window. The rest belongs to the next one
// (RFC 7440 §4: it begins with the block after the last one acknowledged).
func (s *sender) acknowledged(now time.Time, n int) {
	s.hear(now)
	once := s.timer.sendings == 0
	if once {
		s.rtt.sample(now.Sub(s.timer.sent)) // Karn: after a second sending nobody knows which one was answered
	}
	clean := once && n == len(s.packets)
	s.leftovers = !clean
	if s.oack != nil {
		if s.agreed != nil {
			s.agreed()
		}
		s.file(now)
		return
	}
	if clean {
		s.doubled = false
		s.pace.whole()
	} else if n < len(s.packets) {
		s.lost()
	}
	for _, p := range s.packets[:n] {
		s.bytes += int64(len(p[1]))
	}
	if s.last && n == len(s.packets) {
		s.done = true
		return
	}
	s.blocks.ack(n)
	s.next += uint64(n)
	s.advance(now)
}

// lost takes note, once, that a window did not arrive whole.
func (s *sender) lost() {
	if !s.lossy {
		s.lossy = true
		s.pace.lost()
	}
}
