package trace

import (
	"encoding/binary"
	"net/netip"

	"muster/dhcpd"
	"muster/dhcpd/lease"
)

// clientPort and relayPort tell whom a packet is for (RFC 2131 §4.1).
const (
	clientPort4, clientPort6 = 68, 546
	protoUDP                 = 17
	typeIPv4, typeIPv6       = 0x0800, 0x86dd
)

var broadcastMAC = lease.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Frame builds the Ethernet frame of a packet, with right checksums. The server sees no Ethernet header: the machine's
// address is the MAC of the packet, and those of the server and of relays are made of their IP addresses, as
// 02:00 and the last four bytes. It returns nil for a packet without addresses, or of both families.
func Frame(p dhcpd.Packet) []byte {
	from, to := p.From.Addr().Unmap().WithZone(""), p.To.Addr().Unmap().WithZone("")
	if !from.IsValid() || !to.IsValid() || from.Is4() != to.Is4() {
		return nil
	}
	udp := make([]byte, 8, 8+len(p.Data))
	binary.BigEndian.PutUint16(udp[0:], p.From.Port())
	binary.BigEndian.PutUint16(udp[2:], p.To.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(p.Data)))
	udp = append(udp, p.Data...)
	binary.BigEndian.PutUint16(udp[6:], udpChecksum(from, to, udp))

	dst, src := ethernet(p, to, p.To.Port()), ethernet(p, from, p.From.Port())
	frame := append(dst[:], src[:]...)
	if from.Is4() {
		frame = binary.BigEndian.AppendUint16(frame, typeIPv4)
		frame = append(frame, header4(from, to, len(udp))...)
	} else {
		frame = binary.BigEndian.AppendUint16(frame, typeIPv6)
		frame = append(frame, header6(from, to, len(udp))...)
	}
	return append(frame, udp...)
}

// ethernet is the hardware address behind an IP address.
func ethernet(p dhcpd.Packet, a netip.Addr, port uint16) lease.MAC {
	b := a.AsSlice()
	last := b[len(b)-4:]
	switch {
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return broadcastMAC
	case a.IsMulticast() && a.Is6(): // RFC 2464 §7
		return lease.MAC{0x33, 0x33, last[0], last[1], last[2], last[3]}
	case a.IsUnspecified(), port == clientPort4 && a.Is4(), port == clientPort6 && a.Is6():
		return p.MAC
	}
	return lease.MAC{2, 0, last[0], last[1], last[2], last[3]}
}

// header4 is an IPv4 header without options (RFC 791 §3.1).
func header4(from, to netip.Addr, udp int) []byte {
	h := make([]byte, 20)
	h[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+udp))
	h[8], h[9] = 64, protoUDP
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	binary.BigEndian.PutUint16(h[10:], ^fold(sum(0, h)))
	return h
}

// header6 is an IPv6 header (RFC 8200 §3).
func header6(from, to netip.Addr, udp int) []byte {
	h := make([]byte, 40)
	h[0] = 6 << 4
	binary.BigEndian.PutUint16(h[4:], uint16(udp))
	h[6], h[7] = protoUDP, 64
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return h
}

// udpChecksum is over the pseudo header as well (RFC 768, RFC 8200 §8.1); its field in udp is still 0.
func udpChecksum(from, to netip.Addr, udp []byte) uint16 {
	s := sum(uint32(protoUDP)+uint32(len(udp)), from.AsSlice())
	s = sum(sum(s, to.AsSlice()), udp)
	if c := ^fold(s); c != 0 {
		return c
	}
	return 0xffff // 0 is "no checksum"
}

// sum adds 16-bit words (RFC 1071). A packet is far too short for the sum to overflow.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
