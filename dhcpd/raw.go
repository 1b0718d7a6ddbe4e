package dhcpd

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// raw sends IP packets to a MAC, without ARP: a machine does not answer for an address that it has only been
// offered (RFC 2131 §4.1).
type raw struct {
	fd      int
	ifindex int
	out     *vector
	at      []int     // the index of each packet of out
	once    sync.Once // closes fd
}

func openRaw(ifindex int) (*raw, error) {
	// Protocol 0: it only sends.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// It must take a batch at once. Without root (CAP_NET_ADMIN) the system's limit holds.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2<<20)
	return &raw{fd: fd, ifindex: ifindex, out: newVector(true)}, nil
}

// send sends those of out that go to a MAC, and notes the errors of those that could not be sent.
func (r *raw) send(out []outgoing, errs []error) {
	v := r.out
	v.fill = 0
	r.at = r.at[:0]
	for i := range out {
		if o := &out[i]; o.raw != (lease.MAC{}) {
			wrap(o.frame, o.from, o.to, serverPort)
			v.addRaw(o.frame, o.raw, r.ifindex)
			r.at = append(r.at, i)
		}
	}
	for at := r.at; len(at) > 0; {
		if !v.call(unix.SYS_SENDMMSG, uintptr(r.fd)) {
			v.n, v.err = 0, unix.EAGAIN // its buffer holds several batches
		}
		n := v.n
		if n == 0 { // it is about the first of them
			errs[at[0]] = v.err
			n = 1
		}
		at = at[n:]
		v.skip(n)
	}
}

func (r *raw) close() (err error) {
	r.once.Do(func() { err = unix.Close(r.fd) })
	return err
}

// ipSize is what wrap needs before the data.
const ipSize = 20 + 8

// wrap writes the headers of UDP (RFC 768) and IPv4 (RFC 791) in front of what b holds from ipSize on.
func wrap(b []byte, from netip.Addr, to netip.AddrPort, fromPort uint16) {
	const ip = 20
	src, dst := from.As4(), to.Addr().As4()
	put := binary.BigEndian.PutUint16
	clear(b[:ipSize])
	b[0] = 4<<4 | ip/4
	put(b[2:], uint16(len(b)))
	b[6] = 0x40 // don't fragment
	b[8] = 64   // hops: some ROMs take no less, though the packet crosses no router
	b[9] = unix.IPPROTO_UDP
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	put(b[10:], ^sum(0, b[:ip]))

	u := b[ip:]
	put(u, fromPort)
	put(u[2:], to.Port())
	put(u[4:], uint16(len(u)))
	// The pseudo header is the addresses, the protocol and the length.
	check := ^sum(uint32(unix.IPPROTO_UDP)+uint32(len(u))+uint32(sum(0, b[12:20])), u)
	if check == 0 {
		check = 0xffff // 0 would mean that there is none
	}
	put(u[6:], check)
}

// ipPacket wraps a copy of o.
func ipPacket(o outgoing, fromPort uint16) []byte {
	b := append(make([]byte, ipSize, ipSize+len(o.data)), o.data...)
	wrap(b, o.from, o.to, fromPort)
	return b
}

// sum is the ones' complement sum of RFC 1071.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// bigEndian is v in network order, as packet sockets want their protocol.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
