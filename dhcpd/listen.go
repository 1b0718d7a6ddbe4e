package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens the sockets of the named interfaces: UDP ports 67 and 4011 on each, and packet sockets to reach
// machines that have no address yet. On an error nothing stays open; it reports every interface that is
// missing, down, without an IPv4 address, or has another server on it, and wrong subnets. Without Proxy it does with a
// warning, and no port 4011, where another program has that.
func (s *Server) Listen(interfaces ...string) (*Conn, error) {
	if err := checkSubnets(s.Subnets); err != nil {
		return nil, err
	}
	if len(interfaces) == 0 {
		return nil, fmt.Errorf("dhcpd: no interface to serve is configured: %w", fs.ErrInvalid)
	}
	conn := new(Conn)
	var faults []error
	for _, name := range interfaces {
		p, err := open(name, serverPort)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		conn.ports = append(conn.ports, p)
		switch boot, err := open(name, pxePort); {
		case err == nil:
			conn.ports = append(conn.ports, boot)
		case s.Proxy:
			faults = append(faults, err)
		default: // its offers tell machines to ask nobody there
			s.log().Warn("dhcpd: going on without the boot server's port", "err", err)
		}
		if l := p.link(); !s.serves(&l) {
			s.log().Warn("dhcpd: no address of the interface is in a configured subnet: only relayed requests are answered there",
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

// open checks an interface and opens the sockets of a port.
func open(name string, port int) (*socket, error) {
	ifi, addrs, err := inspect(name)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("dhcpd: interface %s has no IPv4 address: give it one of the subnet that it serves (ip address add … dev %s)", name, name)
	}
	udp, err := listenUDP(name, port)
	if err != nil {
		return nil, err
	}
	raw, err := openRaw(ifi.Index)
	if err != nil {
		udp.Close()
		return nil, explain(name, port, err)
	}
	c, err := newSocket(ifi, addrs, port, udp, raw)
	if err != nil {
		udp.Close()
		_ = raw.close()
		return nil, explain(name, port, err)
	}
	return c, nil
}

// inspect finds an interface that DHCP can be spoken on.
func inspect(name string) (*net.Interface, []netip.Prefix, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("dhcpd: interface %q does not exist (there are: %s): %w", name, interfaceNames(), fs.ErrNotExist)
	}
	switch {
	case ifi.Flags&net.FlagUp == 0:
		return nil, nil, fmt.Errorf("dhcpd: interface %s is down: bring it up (ip link set %s up)", name, name)
	case len(ifi.HardwareAddr) != 6:
		return nil, nil, fmt.Errorf("dhcpd: interface %s is not Ethernet: machines cannot boot from it", name)
	}
	addrs, err := ipv4Addrs(ifi)
	if err != nil {
		return nil, nil, fmt.Errorf("dhcpd: addresses of interface %s: %w", name, err)
	}
	return ifi, addrs, nil
}

func interfaceNames() string {
	all, err := net.Interfaces()
	if err != nil {
		return "?"
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// receiveBuffer holds some 10,000 packets: what a rack sends while a disk takes its time to sync.
const receiveBuffer = 8 << 20

// sendBuffer holds the replies to some thousand machines that do not answer ARP: the kernel keeps each for three seconds,
// and who makes up addresses must not have those of others wait.
const sendBuffer = 8 << 20

// listenUDP opens port on one interface. The address is not shared (no SO_REUSEADDR), so that another server
// on the same machine is found out here and not by machines that get two answers.
func listenUDP(name string, port int) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(unix.BindToDevice(int(fd), name), unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
			// Without root (CAP_NET_ADMIN) the system's limit holds.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
		})
		return errors.Join(err, failed)
	}}
	c, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return nil, explain(name, port, err)
	}
	return c.(*net.UDPConn), nil
}

// explain says what an error of opening a socket means.
func explain(name string, port int, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("dhcpd: UDP port %d on interface %s is in use by another program: stop it (ss -ulpn 'sport = :%d' shows which): %w", port, name, port, unix.EADDRINUSE)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("dhcpd: interface %s: no permission to open UDP port %d and a packet socket: run as root: %w", name, port, fs.ErrPermission)
	default:
		return fmt.Errorf("dhcpd: interface %s: %w", name, err)
	}
}
