package tftpd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Bytes before the UDP payload: IP header without options, and UDP header.
const (
	overhead4 = 20 + 8
	overhead6 = 40 + 8
)

// udpFlow is a connected socket: the kernel drops packets of strangers (RFC 1350 §4: a wrong transfer
// identifier does not disturb the transfer) and tells when the client's port is closed.
type udpFlow struct {
	conn  *net.UDPConn
	batch *ipv4.PacketConn // sendmmsg; it serves IPv6 sockets as well, as addresses are not in it
	msgs  []ipv4.Message
	max   int
}

// Open implements Conn.
func (u *UDP) Open(peer Peer) (Flow, error) {
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer.Local, 0))
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(peer.Remote))
	if err != nil {
		return nil, fmt.Errorf("tftpd: %w", err)
	}
	f := &udpFlow{conn: conn, batch: ipv4.NewPacketConn(conn)}
	if mtu := pathMTU(conn, peer.Remote.Addr()); mtu > 0 {
		f.max = mtu - overhead4
		if peer.Remote.Addr().Is6() {
			f.max = mtu - overhead6
		}
	}
	return f, nil
}

// pathMTU is the kernel's idea of the path's MTU in bytes: the interface's, or less where a router has
// said so. It is 0 when there is none.
func pathMTU(conn *net.UDPConn, remote netip.Addr) int {
	level, opt := unix.IPPROTO_IP, unix.IP_MTU
	if remote.Is6() {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	mtu := 0
	if err := rc.Control(func(fd uintptr) {
		if m, err := unix.GetsockoptInt(int(fd), level, opt); err == nil {
			mtu = m
		}
	}); err != nil {
		return 0
	}
	return mtu
}

// MaxPayload implements Flow.
func (f *udpFlow) MaxPayload() int { return f.max }

// SetDeadline implements Flow.
func (f *udpFlow) SetDeadline(t time.Time) error { return f.conn.SetDeadline(t) }

// Close implements Flow.
func (f *udpFlow) Close() error { return f.conn.Close() }

// Send implements Flow, with one system call for a window.
func (f *udpFlow) Send(packets []Datagram) error {
	for len(f.msgs) < len(packets) {
		f.msgs = append(f.msgs, ipv4.Message{})
	}
	msgs := f.msgs[:len(packets)]
	for i := range packets {
		msgs[i].Buffers = packets[i][:]
	}
	for len(msgs) > 0 {
		n, err := f.batch.WriteBatch(msgs, 0)
		if err != nil {
			if errors.Is(err, syscall.ECONNREFUSED) {
				return ErrGone
			}
			// A full queue, or a neighbour that does not resolve at the moment: the same as a
			// packet lost on the way, which the timer mends.
			return nil
		}
		msgs = msgs[n:]
	}
	return nil
}

// Receive implements Flow.
func (f *udpFlow) Receive(p []byte) (int, error) {
	for {
		n, err := f.conn.Read(p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.ECONNREFUSED):
			return 0, ErrGone
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return 0, err
		}
		// Another ICMP error (no route at the moment): each is reported once, so that this ends.
	}
}
