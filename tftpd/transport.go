package tftpd

import (
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

// Flow carries one transfer's packets between the server and one client. Only one goroutine uses it,
// but for SetDeadline.
type Flow interface {
	// Send sends packets in their order. Losing some of them is no error: the network may, too. The
	// error wraps ErrGone when the client is known to listen no more.
	Send(packets []Datagram) error
	// Receive waits for a packet of the client and puts it into p. The error wraps
	// os.ErrDeadlineExceeded after the deadline, or ErrGone.
	Receive(p []byte) (int, error)
	// SetDeadline is when Send and Receive stop waiting.
	SetDeadline(t time.Time) error
	// MaxPayload is the largest UDP payload in bytes that crosses the path in one packet; 0 means
	// that it is not known.
	MaxPayload() int
	// Close gives the flow's port back.
	Close() error
}

// Datagram is one packet in two parts, header and payload, so that a file's bytes are sent from the
// buffer that they were read into.
type Datagram [2][]byte

// Len is the packet's size in bytes.
func (d Datagram) Len() int { return len(d[0]) + len(d[1]) }
