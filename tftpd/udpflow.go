package tftpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

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
	fd     int
	out    outbox
	poller *poller
	// What follows is the poller's while an exchange runs.
	exchange Exchange
	slot     int32         // in the poller; -1 outside
	alarm    time.Time     // when the poller looks at the deadline; zero means that it is not going to
	place    int           // among the alarms
	deadline time.Time     // when the exchange wants to be called
	ended    chan struct{} // closed by the poller
}

// Open implements Conn.
func (u *UDP) Open(peer Peer) (Flow, error) {
	if u.SinglePort {
		return u.single.flow(u, peer)
	}
	fd, err := connected(peer)
	if err != nil {
		return nil, fmt.Errorf("tftpd: %w", err)
	}
	f := &udpFlow{fd: fd, poller: &u.poller, slot: -1}
	f.out.refused = &u.refused
	f.out.largest = pathPayload(fd, peer.Remote.Addr())
	return f, nil
}

// connected makes a socket from the address that was asked to the client.
func connected(peer Peer) (fd int, err error) {
	family := unix.AF_INET
	if peer.Remote.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(peer.Local, 0))); err != nil {
		err = fmt.Errorf("bind to %s: %w", peer.Local, err)
	} else if err = unix.Connect(fd, sockaddr(peer.Remote)); err != nil {
		err = fmt.Errorf("connect to %s: %w", peer.Remote, err)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// sockaddr is a as the kernel has it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if ifi, err := net.InterfaceByName(zone); err == nil {
			s.ZoneId = uint32(ifi.Index)
		}
	}
	return s
}

// pathPayload is the largest payload in one packet by the kernel's idea of the path's MTU: the interface's, or less
// where a router has said so. It is 0 when there is none.
func pathPayload(fd int, remote netip.Addr) int {
	level, opt, overhead := unix.IPPROTO_IP, unix.IP_MTU, overhead4
	if remote.Is6() {
		level, opt, overhead = unix.IPPROTO_IPV6, unix.IPV6_MTU, overhead6
	}
	mtu, err := unix.GetsockoptInt(fd, level, opt)
	if err != nil || mtu <= overhead {
		return 0
	}
	return mtu - overhead
}

// MaxPayload implements Flow.
func (f *udpFlow) MaxPayload() int { return f.out.largest }

// Close implements Flow.
func (f *udpFlow) Close() error { return os.NewSyscallError("close", unix.Close(f.fd)) }

// Send implements Flow.
func (f *udpFlow) Send(packets []Datagram) error { return f.out.send(f.fd, packets) }

// Run implements Flow. The poller calls e; this goroutine only waits for it, and for the disk.
func (f *udpFlow) Run(ctx context.Context, e Exchange) error {
	e.Begin(time.Now())
	f.exchange = e
	for {
		if st := fed(ctx, e); st.Done {
			return st.Err
		}
		f.ended = make(chan struct{})
		if err := f.poller.add(f); err != nil {
			return err
		}
		select {
		case <-f.ended:
		case <-ctx.Done():
			f.poller.drop(f)
			<-f.ended
		}
	}
}

// receive reads one packet, which is there, and hands it to the exchange.
func (f *udpFlow) receive(now time.Time, p []byte) {
	n, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(f.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	switch err {
	case 0:
		f.exchange.Receive(now, p[:n])
	case syscall.ECONNREFUSED:
		f.exchange.Fail(ErrGone)
	}
	// Another error is an ICMP one (no route at the moment) or a packet that was thrown away: each is reported once.
}
