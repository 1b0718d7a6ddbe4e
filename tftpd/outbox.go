package tftpd

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxSegments is how many packets one send with UDP_SEGMENT may carry (the kernel's UDP_MAX_SEGMENTS, 64 before
	// Linux 6.9), maxSegmented how many bytes: they go through the kernel as one packet.
	maxSegments  = 64
	maxSegmented = 65535 - overhead6
)

// outbox sends the packets of a window with as few system calls as the kernel allows: those of one size as a single
// large packet that the kernel, or the network card, cuts (UDP_SEGMENT), else with sendmmsg. Measured (BenchmarkOutbox), a
// window of 16 costs with UDP_SEGMENT a quarter of what it costs with sendmmsg on loopback, a tenth on a veth pair, which
// carries it whole, and a third on a tap, for which it is cut at once.
type outbox struct {
	// name is the receiver, for a socket that is not connected, and control the packet info with our address.
	name, control []byte
	// largest is the payload that fits one packet of the path; larger ones cannot be cut, as each would be in
	// fragments.
	largest int
	// refused is set when the kernel or the network card does not cut packets.
	refused *atomic.Bool

	iovecs []unix.Iovec
	msgs   []mmsghdr
	cut    []byte
}

// mmsghdr is the kernel's struct of that name.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// send sends packets on the socket fd. Losing some is no error; ErrGone is.
func (o *outbox) send(fd int, packets []Datagram) error {
	for len(packets) > 0 {
		n, err := o.some(fd, packets)
		switch {
		case err == 0:
			packets = packets[n:]
		case err == syscall.EINTR:
		case err == syscall.ECONNREFUSED:
			return ErrGone
		case n > 1 && refusesCutting(err):
			o.refused.Store(true)
		default:
			// A full queue, or a neighbour that does not resolve at the moment: the same as a packet lost on the
			// way, which the timer mends.
			return nil
		}
	}
	return nil
}

// refusesCutting tells the errors with which kernels and drivers refuse UDP_SEGMENT.
func refusesCutting(err syscall.Errno) bool {
	for _, e := range []error{syscall.EIO, syscall.EINVAL, syscall.EMSGSIZE, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// some sends the first packets and says how many.
func (o *outbox) some(fd int, packets []Datagram) (int, syscall.Errno) {
	n := 1
	if !o.refused.Load() {
		n = o.alike(packets)
	}
	if n > 1 || len(packets) == 1 {
		o.prepare(1, 2*n)
		h := o.message(0, packets[:n], 0)
		if n > 1 {
			o.cut = appendControl(append(o.cut[:0], o.control...), unix.IPPROTO_UDP, unix.UDP_SEGMENT, uint16(packets[0].Len()))
			setControl(h, o.cut)
		}
		_, _, err := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(h)), unix.MSG_DONTWAIT)
		return n, err
	}
	o.prepare(len(packets), 2*len(packets))
	for i := range packets {
		o.message(i, packets[i:i+1], 2*i)
	}
	sent, _, err := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.msgs[0])), uintptr(len(packets)), unix.MSG_DONTWAIT, 0, 0)
	if err != 0 {
		return 1, err
	}
	return int(sent), 0
}

// alike counts the packets that one send can carry: all of one size, but for the last, which may be shorter.
func (o *outbox) alike(packets []Datagram) int {
	size := packets[0].Len()
	if size > o.largest {
		return 1
	}
	n := 1
	for total := size; n < min(len(packets), maxSegments); n++ {
		next := packets[n].Len()
		if total += next; next > size || total > maxSegmented {
			return n
		}
		if next < size {
			return n + 1
		}
	}
	return n
}

// prepare makes room for so many messages and pieces.
func (o *outbox) prepare(messages, pieces int) {
	if len(o.msgs) < messages {
		o.msgs = make([]mmsghdr, messages)
	}
	if len(o.iovecs) < pieces {
		o.iovecs = make([]unix.Iovec, pieces)
	}
}

// message makes the i-th message of packets, whose pieces begin at the first one.
func (o *outbox) message(i int, packets []Datagram, first int) *unix.Msghdr {
	at := first
	for _, d := range packets {
		for _, piece := range d {
			if len(piece) == 0 {
				continue
			}
			o.iovecs[at].Base = &piece[0]
			o.iovecs[at].SetLen(len(piece))
			at++
		}
	}
	h := &o.msgs[i].hdr
	*h = unix.Msghdr{Iov: &o.iovecs[first]}
	h.SetIovlen(at - first)
	if len(o.name) > 0 {
		h.Name, h.Namelen = &o.name[0], uint32(len(o.name))
	}
	setControl(h, o.control)
	return h
}

func setControl(h *unix.Msghdr, control []byte) {
	if len(control) > 0 {
		h.Control = &control[0]
		h.SetControllen(len(control))
	}
}

// appendControl appends a control message with a 16-bit value.
func appendControl(p []byte, level, kind int32, value uint16) []byte {
	at := len(p)
	p = append(p, make([]byte, unix.CmsgSpace(2))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&p[at]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(p[at+unix.CmsgLen(0):], value)
	return p
}
