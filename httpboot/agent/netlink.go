package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// LinuxNetwork is the Network of a real machine: five rtnetlink messages (RFC 3549) and ARP. A netlink
// library would be a fifth of the agent's size.
type LinuxNetwork struct{}

// Up implements Network.
func (LinuxNetwork) Up(nic string) error {
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	msg := ifinfomsg(ifi.Index, unix.IFF_UP, unix.IFF_UP)
	return rtnetlink(unix.RTM_NEWLINK, 0, msg)
}

// SetAddress implements Network. The old addresses go first: the kernel takes a second address of the same
// subnet as the first one's secondary, and removes both with the first.
func (LinuxNetwork) SetAddress(nic string, addr netip.Prefix, gw netip.Addr) error {
	if !addr.IsValid() || !addr.Addr().Is4() {
		return fmt.Errorf("%v is not an IPv4 address with a prefix length", addr)
	}
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	have, err := ifi.Addrs()
	if err != nil {
		return err
	}
	there := false
	for _, h := range have {
		p, err := netip.ParsePrefix(h.String())
		if err != nil || !p.Addr().Is4() {
			continue
		}
		if p == addr {
			there = true
			continue
		}
		err = rtnetlink(unix.RTM_DELADDR, 0, ifaddrmsg(ifi.Index, p))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %v: %w", p, err)
		}
	}
	if !there {
		err := rtnetlink(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ifaddrmsg(ifi.Index, addr))
		if err != nil {
			return err
		}
	}
	if !gw.IsValid() || gw.IsUnspecified() {
		return nil
	}
	err = rtnetlink(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, defaultRoute(ifi.Index, gw, !addr.Contains(gw)))
	if err != nil {
		return fmt.Errorf("default router %v: %w", gw, err)
	}
	return nil
}

// AddAddress gives the NIC one more IPv4 address; one that is there already is no error.
func (LinuxNetwork) AddAddress(nic string, addr netip.Prefix) error {
	return changeAddress(nic, addr, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
}

// RemoveAddress takes an IPv4 address off the NIC; one that is not there is no error. (Others of its network stay
// when it came after them.)
func (LinuxNetwork) RemoveAddress(nic string, addr netip.Prefix) error {
	err := changeAddress(nic, addr, unix.RTM_DELADDR, 0)
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

func changeAddress(nic string, addr netip.Prefix, kind, flags uint16) error {
	if !addr.IsValid() || !addr.Addr().Is4() {
		return fmt.Errorf("%v is not an IPv4 address with a prefix length", addr)
	}
	ifi, err := net.InterfaceByName(nic)
	if err != nil {
		return err
	}
	return rtnetlink(kind, flags, ifaddrmsg(ifi.Index, addr))
}

// rtnetlink sends one request and reads its acknowledgement.
func rtnetlink(kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The kernel answers at once; a bound all the same, since a boot must never stand still in silence.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	binary.NativeEndian.PutUint32(msg[0:], uint32(unix.NLMSG_HDRLEN+len(body)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	binary.NativeEndian.PutUint32(msg[8:], 1)
	msg = append(msg, body...)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: no acknowledgement")
	}
	if errno := int32(binary.NativeEndian.Uint32(buf[unix.NLMSG_HDRLEN:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}

func ifinfomsg(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

func ifaddrmsg(index int, p netip.Prefix) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1] = unix.AF_INET, byte(p.Bits())
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	a := p.Addr().As4()
	b = attr(b, unix.IFA_LOCAL, a[:])
	b = attr(b, unix.IFA_ADDRESS, a[:])
	if p.Bits() < 31 { // RFC 3021: a /31 has no broadcast
		bc := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
		b = attr(b, unix.IFA_BROADCAST, binary.BigEndian.AppendUint32(nil, bc))
	}
	return b
}

// defaultRoute leads to gw; onlink says that gw is outside of the NIC's subnet, as with a /32.
func defaultRoute(index int, gw netip.Addr, onlink bool) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = unix.AF_INET
	b[4] = unix.RT_TABLE_MAIN
	b[5] = unix.RTPROT_BOOT
	b[6] = unix.RT_SCOPE_UNIVERSE
	b[7] = unix.RTN_UNICAST
	if onlink {
		binary.NativeEndian.PutUint32(b[8:], unix.RTNH_F_ONLINK)
	}
	a := gw.As4()
	b = attr(b, unix.RTA_GATEWAY, a[:])
	return attr(b, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
}

// attr appends a route attribute; every value here is 4 bytes long, so none needs padding.
func attr(b []byte, kind uint16, val []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(val)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, val...)
}
