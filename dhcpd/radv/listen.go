package radv

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
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Listen opens an ICMPv6 socket on each of the named interfaces. An interface that does not exist is an
// fs.ErrNotExist, and without root there is an fs.ErrPermission; nothing stays open then. An interface without
// IPv6 is no error: nobody solicits there, or nobody can be answered, which is logged.
func (s *Server) Listen(interfaces ...string) (*Conn, error) {
	s.init()
	conn := new(Conn)
	if s.Off {
		return conn, nil
	}
	var faults []error
	for _, name := range interfaces {
		p, err := open(name)
		switch {
		case errors.Is(err, errNoIPv6):
			s.log().Info("radv: the interface has no IPv6, nobody solicits routers there", "interface", name)
			continue
		case err != nil:
			faults = append(faults, err)
			continue
		}
		conn.ports = append(conn.ports, p)
		if _, err := p.source(); err != nil {
			s.log().Info("radv: router solicitations of machines are not answered as long as this is so, and iPXE may wait for a router",
				"interface", name, "err", err)
		}
	}
	if len(faults) > 0 {
		conn.Close()
		return nil, errors.Join(faults...)
	}
	return conn, nil
}

var errNoIPv6 = errors.New("no IPv6")

// allRouters is whom solicitations go to (RFC 4861 §4.1).
var allRouters = &net.UDPAddr{IP: net.IPv6linklocalallrouters}

// open opens the socket of an interface.
func open(name string) (*socket, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("radv: interface %q does not exist: %w", name, fs.ErrNotExist)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), name) }); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), "ip6:ipv6-icmp", "::")
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, errNoIPv6
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("radv: interface %s: no permission to open an ICMPv6 socket: run as root: %w", name, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("radv: interface %s: %w", name, err)
	}
	p := &socket{ifi: ifi, pc: ipv6.NewPacketConn(c), buf: make([]byte, 1500)}
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := errors.Join(p.pc.SetICMPFilter(&only), p.pc.SetControlMessage(ipv6.FlagHopLimit, true)); err != nil {
		p.close()
		return nil, fmt.Errorf("radv: interface %s: %w", name, err)
	}
	_ = p.pc.SetMulticastLoopback(false) // this machine need not hear itself
	if err := p.pc.JoinGroup(ifi, allRouters); err != nil {
		p.close()
		return nil, errNoIPv6 // the kernel keeps no groups where it does not speak IPv6
	}
	return p, nil
}

// socket is the port of a real interface.
type socket struct {
	ifi *net.Interface
	pc  *ipv6.PacketConn
	buf []byte

	mu      sync.Mutex // guards stopped and the order of read deadlines
	stopped bool
}

func (c *socket) name() string { return c.ifi.Name }

func (c *socket) read(t time.Time) (solicitation, error) {
	c.mu.Lock()
	if !c.stopped {
		_ = c.pc.SetReadDeadline(t) // it fails on a closed socket only, and then reading does too
	}
	c.mu.Unlock()
	n, cm, from, err := c.pc.ReadFrom(c.buf)
	if err != nil {
		return solicitation{}, err
	}
	in := solicitation{data: c.buf[:n]}
	if cm != nil {
		in.hopLimit = cm.HopLimit
	}
	if a, ok := from.(*net.IPAddr); ok {
		in.from, _ = netip.AddrFromSlice(a.IP)
	}
	return in, nil
}

func (c *socket) send(to netip.Addr, message []byte) error {
	src, err := c.source()
	if err != nil {
		return fmt.Errorf("%w: %w", dropLink, err)
	}
	cm := &ipv6.ControlMessage{HopLimit: hopLimit, Src: src.AsSlice(), IfIndex: c.ifi.Index}
	_, err = c.pc.WriteTo(message, cm, &net.IPAddr{IP: to.AsSlice(), Zone: c.ifi.Name})
	return err
}

// source gives the interface's link-local address, which advertisements must come from (RFC 4861 §4.2). Its
// error says why none may be sent.
func (c *socket) source() (netip.Addr, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", c.ifi.Name, "forwarding"))
	if err == nil && !bytes.Equal(bytes.TrimSpace(b), []byte("0")) {
		return netip.Addr{}, errors.New("this machine is an IPv6 router there, answering is for its router daemon")
	}
	addrs, err := c.ifi.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("the interface has no IPv6 link-local address")
}

func (c *socket) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.pc.SetReadDeadline(time.Unix(1, 0))
}

func (c *socket) close() error { return c.pc.Close() }
