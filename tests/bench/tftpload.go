package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tftpLoad is many TFTP clients in one thread, made to cost less than any server: a socket for each, packets read in
// batches, contents counted and thrown away. A client that has the file begins again, from another port.
type tftpLoad struct {
	file            string
	blksize, window int
	clients         int
	server          netip.AddrPort
	// source is the address of the first client; the next one has the next.
	source netip.Addr

	poll int
	all  []*tftpClient
	in   tftpInbox
	err  error
}

// tftpResult is what a run saw.
type tftpResult struct {
	bytes  int64
	took   time.Duration
	files  int           // that came whole
	again  int           // packets that clients sent again, for want of an answer
	each   []int64       // bytes of each client, sorted
	window int           // as the server agreed
	cpu    time.Duration // of the server
}

func (r *tftpResult) rate() float64     { return float64(r.bytes) / r.took.Seconds() / 1e6 }
func (r *tftpResult) cpuPerGB() float64 { return r.cpu.Seconds() / (float64(r.bytes) / 1e9) }

// tftpPatience is when a client sends its last packet again: what atftp, curl and firmware take for it is 1 to 5 s.
const tftpPatience = time.Second

// tftpClient is one of them.
type tftpClient struct {
	fd      int
	request []byte
	// have is the number of the last block in order.
	have    uint16
	inFile  int64
	bytes   int64
	unacked int // blocks in order since the last ACK
	strange int // blocks out of order since the last ACK
	begun   bool
	blksize int
	window  int
	heard   time.Time
	source  unix.Sockaddr
}

// run fetches the file with all clients for a time, or, with one file, until the first has it.
func (l *tftpLoad) run(d time.Duration) (r tftpResult, err error) {
	if l.poll, err = unix.EpollCreate1(0); err != nil {
		return r, err
	}
	defer unix.Close(l.poll)
	l.in.make(l.blksize)
	defer l.close()
	a := l.source
	start := time.Now()
	for range l.clients {
		c := &tftpClient{source: sockaddr(netip.AddrPortFrom(a, 0))}
		l.all = append(l.all, c)
		if err := l.ask(c); err != nil {
			return r, err
		}
		a = a.Next()
	}
	events, swept := make([]unix.EpollEvent, 256), start
	for time.Since(start) < d && l.err == nil {
		n, err := unix.EpollWait(l.poll, events, 20)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return r, err
		}
		for _, e := range events[:max(n, 0)] {
			l.drain(l.all[e.Pad], &r)
		}
		if now := time.Now(); now.Sub(swept) > 20*time.Millisecond {
			l.sweep(now, &r)
			swept = now
		}
	}
	r.took = time.Since(start)
	for _, c := range l.all {
		r.bytes += c.bytes
		r.each = append(r.each, c.bytes)
		r.window = max(r.window, c.window)
	}
	slices.Sort(r.each)
	return r, l.err
}

// close tells the servers that nobody listens any more.
func (l *tftpLoad) close() {
	for _, c := range l.all {
		_, _ = unix.Write(c.fd, []byte("\x00\x05\x00\x00enough\x00"))
		_ = unix.Close(c.fd)
	}
	l.all = nil
}

// ask begins a transfer.
func (l *tftpLoad) ask(c *tftpClient) (err error) {
	family := unix.AF_INET
	if c.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.Bind(c.fd, c.source); err != nil {
		return err
	}
	i := slices.Index(l.all, c)
	if err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd), Pad: int32(i)}); err != nil {
		return err
	}
	c.request = append([]byte{0, 1}, l.file+"\x00octet\x00"...)
	if l.blksize != 512 {
		c.request = fmt.Appendf(c.request, "blksize\x00%d\x00", l.blksize)
	}
	if l.window > 1 {
		c.request = fmt.Appendf(c.request, "windowsize\x00%d\x00", l.window)
	}
	c.have, c.inFile, c.unacked, c.strange, c.begun = 0, 0, 0, 0, false
	c.blksize, c.window, c.heard = 512, 1, time.Now()
	return unix.Sendto(c.fd, c.request, 0, sockaddr(l.server))
}

// again ends a transfer and begins the next.
func (l *tftpLoad) again(c *tftpClient) {
	_ = unix.Close(c.fd)
	if err := l.ask(c); err != nil && l.err == nil {
		l.err = err
	}
}

// sweep sends again what was not answered.
func (l *tftpLoad) sweep(now time.Time, r *tftpResult) {
	for _, c := range l.all {
		if now.Sub(c.heard) < tftpPatience {
			continue
		}
		r.again++
		c.heard, c.unacked, c.strange = now, 0, 0
		if c.begun {
			c.ack()
		} else {
			_ = unix.Sendto(c.fd, c.request, 0, sockaddr(l.server))
		}
	}
}

func (c *tftpClient) ack() {
	p := [4]byte{0, 4, byte(c.have >> 8), byte(c.have)}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&p)), 4)
	c.unacked, c.strange = 0, 0
}

// drain reads what has come.
func (l *tftpLoad) drain(c *tftpClient, r *tftpResult) {
	now := time.Now()
	c.heard = now
	if !c.begun {
		p := l.in.buffers[0]
		n, from, err := unix.Recvfrom(c.fd, p, 0)
		if err != nil {
			return
		}
		if err := unix.Connect(c.fd, from); err != nil {
			l.err = err
			return
		}
		c.begun = true
		l.packet(c, p[:n], r)
	}
	for {
		n := l.in.read(c.fd)
		for i := range n {
			if l.packet(c, l.in.packet(i), r) {
				return // the rest was this transfer's
			}
		}
		if n < len(l.in.buffers) {
			return
		}
	}
}

// packet takes one packet, and reports whether it was the last of the file.
func (l *tftpLoad) packet(c *tftpClient, p []byte, r *tftpResult) (last bool) {
	if len(p) < 4 {
		return false
	}
	switch p[1] {
	case 6:
		c.agree(p[2:])
		c.ack()
	case 5:
		l.err = fmt.Errorf("bench: the server says %q", p[4:])
	case 3:
		if binary.BigEndian.Uint16(p[2:]) != c.have+1 {
			// Once for a gap, and once for every window that is repeated in vain.
			if c.strange++; c.strange%c.window == 1%c.window {
				n := c.strange
				c.ack()
				c.strange = n
			}
			return false
		}
		n := len(p) - 4
		c.have, c.inFile, c.bytes = c.have+1, c.inFile+int64(n), c.bytes+int64(n)
		c.strange = 0
		if c.unacked++; c.unacked >= c.window || n < c.blksize {
			c.ack()
		}
		if n < c.blksize {
			r.files++
			l.again(c)
			return true
		}
	}
	return false
}

// agree reads an OACK.
func (c *tftpClient) agree(p []byte) {
	words := splitZero(p)
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "blksize":
			_, _ = fmt.Sscan(words[i+1], &c.blksize)
		case "windowsize":
			_, _ = fmt.Sscan(words[i+1], &c.window)
		}
	}
}

func splitZero(p []byte) (words []string) {
	for len(p) > 0 {
		i := slices.Index(p, 0)
		if i < 0 {
			break
		}
		words, p = append(words, string(p[:i])), p[i+1:]
	}
	return words
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// tftpInbox reads a batch of packets with one system call.
type tftpInbox struct {
	buffers [][]byte
	iovecs  []unix.Iovec
	headers []mmsghdr
}

// mmsghdr is the kernel's struct.
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

func (b *tftpInbox) make(blksize int) {
	const batch = 32
	b.iovecs, b.headers = make([]unix.Iovec, batch), make([]mmsghdr, batch)
	for i := range batch {
		p := make([]byte, max(blksize, 512)+4)
		b.buffers = append(b.buffers, p)
		b.iovecs[i].Base = &p[0]
		b.iovecs[i].SetLen(len(p))
		b.headers[i].Iov = &b.iovecs[i]
		b.headers[i].SetIovlen(1)
	}
}

func (b *tftpInbox) read(fd int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(len(b.headers)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (b *tftpInbox) packet(i int) []byte { return b.buffers[i][:b.headers[i].n] }
