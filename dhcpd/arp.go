package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// arpPacket is what is of interest of an ARP packet for IPv4 over Ethernet (RFC 826).
type arpPacket struct {
	mac      lease.MAC  // of the sender
	from, to netip.Addr // sender and target; zero for 0.0.0.0
}

// uses is the address that the sender uses or is about to use (RFC 5227 §2.1.1); zero if it tells none.
func (p arpPacket) uses() netip.Addr {
	if !p.from.IsValid() {
		return p.to // a probe
	}
	return p.from
}

// The layout of RFC 826 for this hardware and protocol.
const (
	arpSize                   = 28
	atSender, atTarget        = 8, 18
	arpHeader                 = "\x00\x01\x08\x00\x06\x04" // Ethernet, IPv4, sizes of the addresses
	atOperation               = 6
	arpRequest         uint16 = 1
	arpReply           uint16 = 2
)

// arpProbe is the question who has a, from nobody (RFC 5227 §1.1): it changes no table of those who hear it.
func arpProbe(a netip.Addr, from lease.MAC) []byte {
	b := make([]byte, arpSize)
	copy(b, arpHeader)
	binary.BigEndian.PutUint16(b[atOperation:], arpRequest)
	copy(b[atSender:], from[:])
	to := a.As4()
	copy(b[atTarget+len(from):], to[:])
	return b
}

// readARP reads a packet; ok is false if it is no request or reply for IPv4 over Ethernet.
func readARP(b []byte) (p arpPacket, ok bool) {
	if len(b) < arpSize || string(b[:atOperation]) != arpHeader {
		return p, false
	}
	if op := binary.BigEndian.Uint16(b[atOperation:]); op != arpRequest && op != arpReply {
		return p, false
	}
	copy(p.mac[:], b[atSender:])
	p.from, p.to = addr(b[atSender+len(p.mac):atTarget]), addr(b[atTarget+len(p.mac):arpSize])
	return p, true
}

// arpWire sends ARP probes and hears all ARP of a link: a socket, or a test's memory.
type arpWire interface {
	// ask sends a probe for a.
	ask(a netip.Addr) error
	// hear waits for the next packet of others; it fails after close.
	hear() (arpPacket, error)
	close() error
}

// arpSocket is the arpWire of an interface.
type arpSocket struct {
	conn *packet.Conn
	mac  lease.MAC
	buf  [128]byte
}

func openARP(iface string) (arpWire, error) {
	ifi, _, err := inspect(iface)
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, explain(iface, clientPort, err)
	}
	return &arpSocket{conn: conn, mac: lease.MAC(ifi.HardwareAddr)}, nil
}

func (s *arpSocket) ask(a netip.Addr) error {
	_, err := s.conn.WriteTo(arpProbe(a, s.mac), &packet.Addr{HardwareAddr: net.HardwareAddr{255, 255, 255, 255, 255, 255}})
	return err
}

func (s *arpSocket) hear() (arpPacket, error) {
	for {
		n, _, err := s.conn.ReadFrom(s.buf[:])
		if err != nil {
			return arpPacket{}, err
		}
		if p, ok := readARP(s.buf[:n]); ok && p.mac != s.mac {
			return p, nil
		}
	}
}

func (s *arpSocket) close() error { return s.conn.Close() }
