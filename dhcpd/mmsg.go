package dhcpd

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// mmsghdr is what recvmmsg and sendmmsg take an array of (recvmmsg(2)).
type mmsghdr struct {
	unix.Msghdr
	n uint32 // bytes of the message
}

// pktinfo is the control message of ip(7) that tells, or asks for, the address at this end.
type pktinfo struct {
	unix.Cmsghdr
	unix.Inet4Pktinfo
	_ [4]byte // controls are aligned
}

// vector is a batch of messages as the kernel takes them: made once, filled again and again.
type vector struct {
	msgs  []mmsghdr
	iovs  []unix.Iovec
	peers []unix.RawSockaddrInet4
	links []unix.RawSockaddrLinklayer // instead of peers, on a packet socket
	infos []pktinfo
	// The outcome of call, which runs as a function of the runtime's poller.
	fill int // how many of msgs to send or receive
	n    int
	err  error
}

// newVector makes one for UDP or for a packet socket.
func newVector(packets bool) *vector {
	v := &vector{msgs: make([]mmsghdr, batchSize), iovs: make([]unix.Iovec, batchSize)}
	if packets {
		v.links = make([]unix.RawSockaddrLinklayer, batchSize)
	} else {
		v.peers, v.infos = make([]unix.RawSockaddrInet4, batchSize), make([]pktinfo, batchSize)
	}
	for i := range v.msgs {
		m := &v.msgs[i]
		m.Iov = &v.iovs[i]
		m.SetIovlen(1)
		if packets {
			m.Name, m.Namelen = (*byte)(unsafe.Pointer(&v.links[i])), unix.SizeofSockaddrLinklayer
			continue
		}
		m.Name, m.Namelen = (*byte)(unsafe.Pointer(&v.peers[i])), unix.SizeofSockaddrInet4
		m.Control = (*byte)(unsafe.Pointer(&v.infos[i]))
	}
	return v
}

// receive readies the vector for as many packets as it holds.
func (v *vector) receive() {
	v.fill = len(v.msgs)
	for i := range v.msgs {
		v.msgs[i].Namelen = unix.SizeofSockaddrInet4
		v.msgs[i].SetControllen(int(unsafe.Sizeof(pktinfo{})))
	}
}

// call makes one system call on as many messages as are filled, and reports whether it did not have to wait.
func (v *vector) call(trap, fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&v.msgs[0])), uintptr(v.fill), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			v.n, v.err = int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			v.n, v.err = 0, errno
		}
		return true
	}
}

// got gives the i-th packet that was received into buf.
func (v *vector) got(i int, buf []byte) datagram {
	m := &v.msgs[i]
	d := datagram{data: buf[:m.n], truncated: m.Flags&unix.MSG_TRUNC != 0}
	p := &v.peers[i]
	port := (*[2]byte)(unsafe.Pointer(&p.Port))
	d.from = netip.AddrPortFrom(netip.AddrFrom4(p.Addr), uint16(port[0])<<8|uint16(port[1]))
	if c := &v.infos[i]; m.Controllen > 0 && c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO {
		d.to = addr(c.Inet4Pktinfo.Addr[:])
	}
	return d
}

// add puts a packet into the vector that the kernel routes itself.
func (v *vector) add(o *outgoing, ifindex int) {
	i := v.fill
	v.fill++
	p := &v.peers[i]
	p.Family, p.Addr = unix.AF_INET, o.to.Addr().As4()
	port := (*[2]byte)(unsafe.Pointer(&p.Port))
	port[0], port[1] = byte(o.to.Port()>>8), byte(o.to.Port())
	c := &v.infos[i]
	c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	c.Ifindex, c.Spec_dst = int32(ifindex), [4]byte{}
	if o.from.Is4() {
		c.Spec_dst = o.from.As4()
	}
	v.msgs[i].SetControllen(int(unsafe.Sizeof(*c)))
	v.payload(i, o.data)
}

// addRaw puts a whole IP packet into the vector, for a MAC.
func (v *vector) addRaw(packet []byte, to lease.MAC, ifindex int) {
	i := v.fill
	v.fill++
	l := &v.links[i]
	l.Family, l.Protocol, l.Ifindex, l.Halen = unix.AF_PACKET, bigEndian(unix.ETH_P_IP), int32(ifindex), uint8(len(to))
	copy(l.Addr[:], to[:])
	v.payload(i, packet)
}

func (v *vector) payload(i int, b []byte) {
	v.iovs[i].Base = &b[0]
	v.iovs[i].SetLen(len(b))
}

// skip takes the first n messages out of those that are to be sent.
func (v *vector) skip(n int) {
	// The rest moves down with all that it points to, so that every message keeps its own parts.
	for i := n; i < v.fill; i++ {
		v.iovs[i-n] = v.iovs[i]
		if v.links != nil {
			v.links[i-n] = v.links[i]
		} else {
			v.peers[i-n], v.infos[i-n] = v.peers[i], v.infos[i]
		}
	}
	v.fill -= n
}
