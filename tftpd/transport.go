package tftpd

import (
	"context"
	"net/netip"
	"time"
)

// Conn is the packet network that a Server serves: where requests arrive, and how the socket of a
// transfer is made. Listen gives the real one; tests use one in memory.
type Conn interface {
	// ReadRequest waits for a packet to the well-known port, puts it into p and says whose it is. It
	// returns an error that wraps net.ErrClosed once the Conn is closed; other errors are
	// temporary.
	ReadRequest(p []byte) (n int, peer Peer, err error)
	// Open makes the flow of one transfer to peer. It sends from the address that peer asked, and
	// from a port of its own (RFC 1350 §4: the transfer identifier).
	Open(peer Peer) (Flow, error)
	// Close ends ReadRequest. Flows that are open stay so.
	Close() error
}

// Peer is who asked, and whom it asked.
type Peer struct {
	// Remote is the client's address and transfer identifier.
	Remote netip.AddrPort
	// Local is the address that the client sent its request to.
	Local netip.Addr
}

// Flow carries one transfer's packets between the server and one client.
type Flow interface {
	// Send sends packets in their order. Losing some of them is no error: the network may, too. The
	// error wraps ErrGone when the client is known to listen no more. It does not wait.
	Send(packets []Datagram) error
	// Run begins an exchange and hands it the client's packets and its deadlines until it is done, and
	// returns its error; or until ctx ends, and returns the cause. Only one runs at a time.
	Run(ctx context.Context, e Exchange) error
	// MaxPayload is the largest UDP payload in bytes that crosses the path in one packet; 0 means
	// that it is not known.
	MaxPayload() int
	// Close gives the flow's port back.
	Close() error
}

// Exchange is what a transfer does when something happens. Its methods are called one at a time, and none of them
// waits, except for Feed.
type Exchange interface {
	// Begin is called first. Receive is called with every packet of the client, which it does not keep, Expire
	// at the deadline.
	Begin(now time.Time)
	Receive(now time.Time, p []byte)
	Expire(now time.Time)
	// Fail ends the exchange.
	Fail(err error)
	// Feed reads from the file and may wait for the disk. It is called when the exchange is hungry; nothing else
	// is until it returns. Resume is called after that.
	Feed()
	Resume(now time.Time)
	// State is looked at after each of the others.
	State() State
}

// State is what an Exchange waits for.
type State struct {
	// Deadline is when Expire is to be called.
	Deadline time.Time
	// Hungry asks for Feed.
	Hungry bool
	// Done says that it has ended, with Err.
	Done bool
	Err  error
}

// Datagram is one packet in two parts, header and payload, so that a file's bytes are sent from the
// buffer that they were read into.
type Datagram [2][]byte

// Len is the packet's size in bytes.
func (d Datagram) Len() int { return len(d[0]) + len(d[1]) }

// fed gives what e waits for when it has been fed, or that it is done: also when ctx has ended, with the cause.
func fed(ctx context.Context, e Exchange) State {
	for {
		st := e.State()
		switch {
		case st.Done:
			return st
		case ctx.Err() != nil:
			return State{Done: true, Err: context.Cause(ctx)}
		case !st.Hungry:
			return st
		}
		e.Feed()
		e.Resume(time.Now())
	}
}

// pump runs an exchange whose packets come through a channel.
func pump(ctx context.Context, e Exchange, in <-chan []byte) error {
	e.Begin(time.Now())
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		st := fed(ctx, e)
		if st.Done {
			return st.Err
		}
		timer.Reset(time.Until(st.Deadline))
		select {
		case <-ctx.Done():
		case p := <-in:
			e.Receive(time.Now(), p)
		case <-timer.C:
			e.Expire(time.Now())
		}
	}
}
