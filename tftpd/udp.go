package tftpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// requestBuffer is the listening socket's receive buffer in bytes: a hall of 5,000 machines may ask
// within a millisecond, and one small packet counts as about 800 bytes.
const requestBuffer = 4 << 20

// UDP is the real packet network: a listening socket, and a connected socket for every transfer.
type UDP struct {
	// SinglePort has every packet sent from the listening socket, with the port that was asked, for clients behind
	// a NAT or a firewall that lets only that one through. RFC 1350 §4 wants another port for each transfer; all
	// known clients take this one as well. It costs more, and nobody is told of a client's closed port. Set it
	// before Serve. False means a port for each transfer.
	SinglePort bool

	conn   *net.UDPConn
	raw    syscall.RawConn // conn's
	six    bool            // conn is a socket of IPv6
	poller poller
	single single
	// refused says that the kernel or a network card does not cut packets.
	refused atomic.Bool
}

// Listen opens the socket that requests come to. addr is host:port; an empty host or [::] means every
// address of both families, 0.0.0.0 every IPv4 address. The error says which port was taken.
func Listen(addr string) (*UDP, error) {
	network := "udp"
	if host, _, err := net.SplitHostPort(addr); err == nil && host == "0.0.0.0" {
		network = "udp4" // "udp" would listen on IPv6, too
	}
	lc := net.ListenConfig{Control: askForDestination}
	pc, err := lc.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return nil, fmt.Errorf("tftpd: %w%s", err, listenAdvice(err))
	}
	u := &UDP{conn: pc.(*net.UDPConn)}
	if u.raw, err = u.conn.SyscallConn(); err != nil {
		return nil, fmt.Errorf("tftpd: %w", errors.Join(err, pc.Close()))
	}
	if err := u.raw.Control(func(fd uintptr) {
		family, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		u.six = err == nil && family == unix.AF_INET6
	}); err != nil {
		return nil, fmt.Errorf("tftpd: %w", errors.Join(err, pc.Close()))
	}
	return u, nil
}

// listenAdvice says what to do about err.
func listenAdvice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return ": another TFTP server runs here; ss -ulpn shows which"
	case errors.Is(err, syscall.EACCES):
		return ": a port below 1024 needs root or CAP_NET_BIND_SERVICE"
	}
	return ""
}

// askForDestination has the kernel tell for every packet which of our addresses it was sent to.
func askForDestination(network, _ string, rc syscall.RawConn) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) {
		// On a socket of both families IPv4 packets come with IP_PKTINFO as well.
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		if err == nil && network == "udp6" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		// Beyond net.core.rmem_max only root may go; without it the kernel's limit will do.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, requestBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, requestBuffer)
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// Addr is the address that it listens on.
func (u *UDP) Addr() netip.AddrPort {
	a := u.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Close implements Conn.
func (u *UDP) Close() error {
	u.poller.close()
	return u.single.close(u)
}

// ReadRequest implements Conn. Packets to a broadcast or multicast address are left out, as RFC 1123
// §4.2.3.5 wants it.
func (u *UDP) ReadRequest(p []byte) (int, Peer, error) {
	oob := make([]byte, 128) // room for both families' packet info
	for {
		n, oobn, _, from, err := u.conn.ReadMsgUDPAddrPort(p, oob)
		if err != nil && u.single.closed() {
			err = net.ErrClosed
		}
		if err != nil {
			return 0, Peer{}, fmt.Errorf("tftpd: %w", err)
		}
		local, ok := destination(oob[:oobn])
		if !ok {
			continue
		}
		remote := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if z := remote.Addr().Zone(); z != "" {
			local = local.WithZone(z)
		}
		if u.SinglePort && !isRequest(p[:n]) && u.single.deliver(remote, p[:n]) {
			continue
		}
		return n, Peer{Remote: remote, Local: local}, nil
	}
}

// destination finds the address that a packet was sent to in its control messages. ok is false when
// that is not one machine's address.
func destination(oob []byte) (local netip.Addr, ok bool) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return netip.Addr{}, false
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: int ifindex, the local address, the header's destination. The two
			// differ when the destination is not an address of ours: a broadcast.
			spec, dst := netip.AddrFrom4([4]byte(data[4:8])), netip.AddrFrom4([4]byte(data[8:12]))
			return spec, spec == dst
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			dst := netip.AddrFrom16([16]byte(data[:16])).Unmap()
			if dst.Is4() {
				continue // IP_PKTINFO of the same packet knows more
			}
			return dst, !dst.IsMulticast()
		}
	}
	return netip.Addr{}, false
}
