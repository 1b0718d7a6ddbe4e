package dhcpd

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// udp is a UDP socket that its reader waits for in the kernel, out of sight of the runtime's poller. With packets every
// millisecond, to park a goroutine and to wake it costs more than the answer: the runtime wakes two threads for each
// packet, its monitor being one (measured: 30 of 100 µs for an exchange).
type udp struct {
	fd   int
	wake int           // an eventfd
	poll []unix.PollFd // of both

	yielded time.Time // when receive let the runtime schedule it anew

	mu     sync.Mutex // held by the one reader, who also sends, so that close does not take the descriptors away
	closed bool
}

// yieldEvery keeps the runtime's monitor asleep: it takes the processor from a goroutine that has not been scheduled anew
// for 10 ms, be it in a system call, and looks every 20 µs for a while after that.
const yieldEvery = 4 * time.Millisecond

// newUDP takes a connection over, and closes it in any case.
func newUDP(c *net.UDPConn) (*udp, error) {
	defer c.Close()
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	u := &udp{fd: -1, wake: -1}
	var failed error
	err = rc.Control(func(fd uintptr) { u.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, os.NewSyscallError("dup", failed)); err != nil {
		return nil, err
	}
	if u.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(u.fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	u.poll = []unix.PollFd{{Fd: int32(u.fd), Events: unix.POLLIN}, {Fd: int32(u.wake), Events: unix.POLLIN}}
	return u, nil
}

// receive waits until there are packets and fills v. The error is os.ErrDeadlineExceeded when there are none until a
// time, or when it was interrupted, and net.ErrClosed once it is closed.
func (u *udp) receive(v *vector, until time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for !u.closed {
		now := time.Now()
		if now.Sub(u.yielded) > yieldEvery {
			u.yielded = now
			runtime.Gosched()
		}
		n, err := unix.Poll(u.poll, int(max(until.Sub(now).Milliseconds()+1, 0)))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0 || u.poll[1].Revents != 0:
			return os.ErrDeadlineExceeded
		case v.call(unix.SYS_RECVMMSG, uintptr(u.fd)):
			return v.err
		}
	}
	return net.ErrClosed
}

// send sends as much of v as it can. It does not wait for room, because all machines would: sendBuffer holds several
// batches, and machines ask again.
func (u *udp) send(v *vector) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return net.ErrClosed
	}
	if v.call(unix.SYS_SENDMMSG, uintptr(u.fd)) {
		return v.err
	}
	v.n = 0
	return unix.EAGAIN
}

// interrupt ends receive, now and ever after. It must not be called after close.
func (u *udp) interrupt() { _, _ = unix.Write(u.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// close is for one caller at a time.
func (u *udp) close() error {
	if u.wake < 0 {
		return nil
	}
	u.interrupt()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	_ = unix.Close(u.wake)
	u.wake = -1
	return unix.Close(u.fd)
}
