package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Times of the address probe. RFC 5227 §1.1 has three probes one to two seconds apart and a wait of two
// seconds, which every boot would pay. The address comes from a server that hands each out once; the probe
// finds a squatter on the segment, and that answers within milliseconds. So it is less than a second for all
// three (NetworkManager takes 0.2 s), in which the modules of the root are loaded.
const (
	probeCount    = 3
	probeInterval = 150 * time.Millisecond
	probeWait     = 300 * time.Millisecond
)

// Probe implements Network.
func (LinuxNetwork) Probe(ctx context.Context, nic string, addr netip.Addr) (net.HardwareAddr, error) {
	s, err := openARP(nic)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s.fd)
	for i := range probeCount {
		// The sender address is zero: a probe must not fill anybody's ARP cache.
		if err := s.send(netip.IPv4Unspecified(), addr); err != nil {
			return nil, err
		}
		wait := probeInterval
		if i == probeCount-1 {
			wait = probeWait
		}
		who, err := s.conflict(ctx, addr, time.Now().Add(wait))
		if who != nil || err != nil {
			return who, err
		}
	}
	return nil, nil
}

// Announce implements Network: a probe with the address as sender (RFC 5227 §2.3).
func (LinuxNetwork) Announce(nic string, addr netip.Addr) error {
	s, err := openARP(nic)
	if err != nil {
		return err
	}
	defer unix.Close(s.fd)
	return s.send(addr, addr)
}

type arpSocket struct {
	fd  int
	ifi *net.Interface
}

func openARP(nic string) (*arpSocket, error) {
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return nil, err
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, errors.New(nic + " is no Ethernet interface")
	}
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &arpSocket{fd, ifi}, nil
}

// arpSize is an Ethernet header and an ARP packet for IPv4 (RFC 826).
const arpSize = 14 + 28

// send broadcasts a request for target.
func (s *arpSocket) send(sender, target netip.Addr) error {
	return unix.Send(s.fd, arpRequest(s.ifi.HardwareAddr, sender, target), 0)
}

func arpRequest(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	f := make([]byte, 0, arpSize)
	f = append(f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f = append(f, mac...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1)
	f = append(f, mac...)
	from, to := sender.As4(), target.As4()
	f = append(f, from[:]...)
	f = append(f, 0, 0, 0, 0, 0, 0)
	return append(f, to[:]...)
}

// conflict reads until deadline for somebody who has addr; nil when there is none.
func (s *arpSocket) conflict(ctx context.Context, addr netip.Addr, deadline time.Time) (net.HardwareAddr, error) {
	buf := make([]byte, 256)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// A tenth of a second at a time, so that ctx is heard.
		tv := unix.NsecToTimeval(int64(min(left, 100*time.Millisecond)) + int64(time.Microsecond))
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return nil, err
		}
		n, _, err := unix.Recvfrom(s.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if who := arpOwner(buf[:n], s.ifi.HardwareAddr, addr); who != nil {
			return who, nil
		}
	}
}

// arpOwner gives the sender of a frame which shows that addr is taken (RFC 5227 §2.1.1): somebody sends
// from it, or probes for it as we do. nil for every other frame, and for our own.
func arpOwner(f []byte, own net.HardwareAddr, addr netip.Addr) net.HardwareAddr {
	if len(f) < arpSize || f[12] != 0x08 || f[13] != 0x06 {
		return nil
	}
	arp := f[14:]
	if binary.BigEndian.Uint16(arp[2:]) != 0x0800 || arp[4] != 6 || arp[5] != 4 {
		return nil
	}
	mac := net.HardwareAddr(arp[8:14])
	if mac.String() == own.String() {
		return nil
	}
	sender, target := netip.AddrFrom4([4]byte(arp[14:18])), netip.AddrFrom4([4]byte(arp[24:28]))
	request := binary.BigEndian.Uint16(arp[6:]) == 1
	if sender == addr || (request && sender.IsUnspecified() && target == addr) {
		return append(net.HardwareAddr(nil), mac...)
	}
	return nil
}
