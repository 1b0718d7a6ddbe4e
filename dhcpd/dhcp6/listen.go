package dhcp6

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// Whom clients and relays send to (RFC 8415 §7.1).
var (
	allServersAndRelays = net.ParseIP("ff02::1:2")
	allServers          = net.ParseIP("ff05::1:3")
)

// Listen opens UDP port 547 on the named interfaces. On an error nothing stays open; it reports every interface that
// is missing, has no IPv6, or has another server on it, and wrong subnets.
func (s *Server) Listen(interfaces ...string) (*Conn, error) {
	if err := CheckSubnets(s.Subnets); err != nil {
		return nil, err
	}
	if len(interfaces) == 0 {
		return nil, fmt.Errorf("dhcp6: no interface to serve is configured: %w", fs.ErrInvalid)
	}
	conn := new(Conn)
	var faults []error
	for _, name := range interfaces {
		p, err := open(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		conn.ports = append(conn.ports, p)
		if l := p.link(); !s.serves(&l) {
			s.log().Warn("dhcp6: no address of the interface is in a configured subnet: only relayed messages are answered there",
				"interface", name, "addresses", fmt.Sprint(l.addrs))
		}
	}
	if len(faults) > 0 {
		conn.Close()
		return nil, errors.Join(faults...)
	}
	return conn, nil
}

func (s *Server) serves(l *link) bool {
	for i := range s.Subnets {
		if l.in(&s.Subnets[i]).IsValid() {
			return true
		}
	}
	return false
}

// open checks an interface and opens its socket.
func open(name string) (*socket, error) {
	ifi, err := net.InterfaceByName(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("dhcp6: interface %q does not exist: %w", name, fs.ErrNotExist)
	case ifi.Flags&net.FlagUp == 0:
		return nil, fmt.Errorf("dhcp6: interface %s is down: bring it up (ip link set %s up)", name, name)
	case len(ifi.HardwareAddr) != len(lease.MAC{}):
		return nil, fmt.Errorf("dhcp6: interface %s is not Ethernet: machines cannot boot from it", name)
	case disabled(name):
		return nil, fmt.Errorf("dhcp6: IPv6 is switched off on interface %s: switch it on (sysctl -w net.ipv6.conf.%s.disable_ipv6=0)", name, name)
	}
	addrs, err := ipv6Addrs(ifi)
	if err != nil {
		return nil, fmt.Errorf("dhcp6: addresses of interface %s: %w", name, err)
	}
	udp, err := listenUDP(name)
	if err != nil {
		return nil, err
	}
	pc := ipv6.NewPacketConn(udp)
	for _, group := range []net.IP{allServersAndRelays, allServers} {
		if err := pc.JoinGroup(ifi, &net.UDPAddr{IP: group}); err != nil {
			udp.Close()
			return nil, fmt.Errorf("dhcp6: interface %s does not speak IPv6: %w", name, err)
		}
	}
	return newSocket(ifi, addrs, udp, pc), nil
}

// disabled reports whether an interface is told not to speak IPv6. (One that has no address yet, because nothing is
// plugged in, will.)
func disabled(name string) bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6"))
	return err == nil && string(bytes.TrimSpace(b)) == "1"
}

// receiveBuffer holds some 5,000 packets: what a rack sends while a disk takes its time to sync.
const receiveBuffer = 4 << 20

// listenUDP opens the port on one interface. The address is not shared (no SO_REUSEADDR), so that another server on
// the same machine is found out here and not by machines that get two answers.
func listenUDP(name string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.BindToDevice(int(fd), name)
			// Without root (CAP_NET_ADMIN) the system's limit holds.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
		return errors.Join(err, failed)
	}}
	c, err := lc.ListenPacket(context.Background(), "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), serverPort).String())
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("dhcp6: UDP port %d on interface %s is in use by another program: stop it (ss -ulpn 'sport = :%d' shows which): %w",
			serverPort, name, serverPort, unix.EADDRINUSE)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("dhcp6: interface %s: no permission to open UDP port %d: run as root: %w", name, serverPort, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("dhcp6: interface %s: %w", name, err)
	}
	return c.(*net.UDPConn), nil
}
