package dhcp6

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

const (
	// batchSize bounds how many packets share one commit.
	batchSize = 128
	// packetSize is more than any Ethernet frame without jumbo size carries.
	packetSize = 2048
	// addrsAge is how old the list of the interface's addresses may be.
	addrsAge = 5 * time.Second
	// followEvery is how often a silent socket looks whether its interface is still there. A socket stays bound to
	// the interface that it was opened on, and hears nothing of another one with the same name, which ifdown and
	// ifup of a VLAN, a bond or a bridge make.
	followEvery = 2 * time.Second
)

// What follow tells Serve to log.
var (
	errGone  = errors.New("the interface is gone: DHCPv6 is answered there as soon as it is back")
	errAgain = errors.New("the interface was made anew: DHCPv6 is answered there again")
)

// socket is the port of a real interface.
type socket struct {
	ifi     *net.Interface
	addrs   []netip.Prefix
	checked time.Time // when addrs were read

	in   []ipv6.Message
	got  []datagram
	gone bool // follow has told that the interface is gone

	mu          sync.Mutex // guards what follows against interrupt and close; the rest is the reader's
	udp         *net.UDPConn
	pc          *ipv6.PacketConn
	interrupted bool
}

func newSocket(ifi *net.Interface, addrs []netip.Prefix, udp *net.UDPConn, pc *ipv6.PacketConn) *socket {
	c := &socket{ifi: ifi, addrs: addrs, checked: time.Now(), udp: udp, pc: pc}
	c.in = make([]ipv6.Message, batchSize)
	for i := range c.in {
		c.in[i].Buffers = [][]byte{make([]byte, packetSize)}
		c.in[i].OOB = ipv6.NewControlMessage(ipv6.FlagDst | ipv6.FlagInterface)
	}
	// It fails on a closed socket only, and then reading does too.
	_ = c.pc.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	return c
}

func (c *socket) link() link {
	if time.Since(c.checked) > addrsAge {
		if addrs, err := ipv6Addrs(c.ifi); err == nil {
			c.addrs = addrs
		}
		c.checked = time.Now()
	}
	return link{name: c.ifi.Name, index: c.ifi.Index, mac: lease.MAC(c.ifi.HardwareAddr), addrs: c.addrs}
}

func (c *socket) read() ([]datagram, error) {
	pc, err := c.arm()
	if err != nil {
		return nil, err
	}
	n, err := pc.ReadBatch(c.in, 0)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, c.follow()
	}
	if err != nil {
		return nil, err
	}
	c.got = c.got[:0]
	for _, m := range c.in[:n] {
		d := datagram{data: m.Buffers[0][:m.N], truncated: m.Flags&unix.MSG_TRUNC != 0}
		if a, ok := m.Addr.(*net.UDPAddr); ok {
			d.from = a.AddrPort()
		}
		var cm ipv6.ControlMessage
		if cm.Parse(m.OOB[:m.NN]) == nil {
			d.to, _ = netip.AddrFromSlice(cm.Dst)
		}
		c.got = append(c.got, d)
	}
	return c.got, nil
}

func (c *socket) send(out []outgoing) []error {
	errs := make([]error, len(out))
	ms := make([]ipv6.Message, len(out))
	for i, o := range out {
		cm := ipv6.ControlMessage{IfIndex: c.ifi.Index}
		if o.from.IsValid() {
			cm.Src = o.from.AsSlice()
		}
		ms[i] = ipv6.Message{Buffers: [][]byte{o.data}, OOB: cm.Marshal(), Addr: net.UDPAddrFromAddrPort(o.to)}
	}
	for sent := 0; sent < len(ms); {
		n, err := c.pc.WriteBatch(ms[sent:], 0)
		if err != nil || n == 0 { // it is about the first of them
			errs[sent] = errors.Join(err)
			n = 1
		}
		sent += n
	}
	return errs
}

// arm makes the next read end in time for follow, unless the socket was interrupted.
func (c *socket) arm() (*ipv6.PacketConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return nil, os.ErrDeadlineExceeded
	}
	return c.pc, c.udp.SetReadDeadline(time.Now().Add(followEvery))
}

// follow opens the socket again when there is another interface of the name; until that can be served, it leaves
// everything as it is. It returns errGone or errAgain once each, and nil when nothing has changed.
func (c *socket) follow() error {
	ifi, err := net.InterfaceByName(c.ifi.Name)
	if err != nil {
		if c.gone {
			return nil
		}
		c.gone = true
		return errGone
	}
	if ifi.Index == c.ifi.Index {
		c.gone = false
		return nil
	}
	fresh, err := open(c.ifi.Name)
	if err != nil {
		return nil // it is down: look again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		fresh.close()
		return os.ErrDeadlineExceeded
	}
	_ = c.udp.Close() // of an interface that is no more
	c.udp, c.pc, c.ifi = fresh.udp, fresh.pc, fresh.ifi
	c.addrs, c.checked, c.gone = fresh.addrs, fresh.checked, false
	return errAgain
}

func (c *socket) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	_ = c.udp.SetReadDeadline(time.Unix(1, 0))
}

func (c *socket) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.udp.Close()
}
