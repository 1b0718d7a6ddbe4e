package tftpd

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// flowQueue is how many packets of a client wait for its transfer. It has one to say at a time; what does not fit is
// lost, as on the way.
const flowQueue = 8

// single are the flows of a UDP that answers from the port that was asked. Its zero value is ready.
type single struct {
	mu    sync.Mutex
	flows map[netip.AddrPort]*portFlow // guarded by mu
	// open is how many flows send from the socket, closing that it is closed with the last one. Guarded by mu.
	open    int
	closing bool
}

// portFlow is one transfer's part of the listening socket.
type portFlow struct {
	udp    *UDP
	remote netip.AddrPort
	in     chan []byte
	out    outbox
}

// flow makes a flow. One that is still open for the same client port hears nothing any more.
func (s *single) flow(u *UDP, peer Peer) (Flow, error) {
	fd, err := connected(peer) // only to ask for the path
	if err != nil {
		return nil, fmt.Errorf("tftpd: %w", err)
	}
	largest := pathPayload(fd, peer.Remote.Addr())
	if err := unix.Close(fd); err != nil {
		return nil, fmt.Errorf("tftpd: %w", err)
	}
	f := &portFlow{udp: u, remote: peer.Remote, in: make(chan []byte, flowQueue)}
	f.out.refused, f.out.largest = &u.refused, largest
	f.out.name, f.out.control = u.envelope(peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows == nil {
		s.flows = map[netip.AddrPort]*portFlow{}
	}
	s.flows[peer.Remote] = f
	s.open++
	return f, nil
}

// close ends the reading from u's socket, and closes it, now or with the last flow: their clients are to be told that the
// server stops.
func (s *single) close(u *UDP) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	if s.open == 0 {
		return u.conn.Close()
	}
	return u.conn.SetReadDeadline(time.Unix(1, 0))
}

// closed reports whether the reading has ended.
func (s *single) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// deliver gives a packet to the transfer that it belongs to, if there is one.
func (s *single) deliver(from netip.AddrPort, p []byte) bool {
	s.mu.Lock()
	f := s.flows[from]
	s.mu.Unlock()
	if f == nil {
		return false
	}
	select {
	case f.in <- append([]byte(nil), p...):
	default:
	}
	return true
}

// envelope is a receiver and the address of ours to send from, as the listening socket's family has them.
func (u *UDP) envelope(peer Peer) (name, control []byte) {
	remote, local := peer.Remote.Addr(), peer.Local
	if !u.six {
		name = binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
		name = binary.BigEndian.AppendUint16(name, peer.Remote.Port())
		name = append(append(name, remote.AsSlice()...), make([]byte, 8)...)
		return name, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: local.As4()})
	}
	// On a socket of both families IPv4 addresses are mapped.
	to := remote.As16()
	name = binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	name = binary.BigEndian.AppendUint16(name, peer.Remote.Port())
	name = append(append(name, 0, 0, 0, 0), to[:]...)
	var zone uint32
	if s, ok := sockaddr(peer.Remote).(*unix.SockaddrInet6); ok {
		zone = s.ZoneId
	}
	return binary.NativeEndian.AppendUint32(name, zone), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: local.As16(), Ifindex: zone})
}

// Run implements Flow.
func (f *portFlow) Run(ctx context.Context, e Exchange) error { return pump(ctx, e, f.in) }

// Send implements Flow.
func (f *portFlow) Send(packets []Datagram) (err error) {
	if cerr := f.udp.raw.Control(func(fd uintptr) { err = f.out.send(int(fd), packets) }); cerr != nil {
		return fmt.Errorf("tftpd: %w", cerr)
	}
	return err
}

// MaxPayload implements Flow.
func (f *portFlow) MaxPayload() int { return f.out.largest }

// Close implements Flow.
func (f *portFlow) Close() error {
	s := &f.udp.single
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[f.remote] == f {
		delete(s.flows, f.remote)
	}
	if s.open--; s.open == 0 && s.closing {
		return f.udp.conn.Close()
	}
	return nil
}
