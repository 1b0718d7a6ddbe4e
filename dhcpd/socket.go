package dhcpd

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

const (
	// batchSize bounds how many packets share one commit: 128 keep a reply within the time that a slow
	// disk needs anyway.
	batchSize = 128
	// packetSize is more than any Ethernet frame without jumbo size carries.
	packetSize = 2048
	// addrsAge is how old the list of the interface's addresses may be: one that moves between two servers
	// is noticed before clients give up.
	addrsAge = 5 * time.Second
)

// socket is the port of a real interface.
type socket struct {
	ifi     *net.Interface
	addrs   []netip.Prefix
	checked time.Time // when addrs were read

	in   []ipv4.Message
	got  []datagram
	gone bool // follow has told that the interface is gone

	mu          sync.Mutex // guards what follows against interrupt and close; the rest is the reader's
	udp         *net.UDPConn
	pc          *ipv4.PacketConn
	raw         *raw
	interrupted bool
}

func newSocket(ifi *net.Interface, addrs []netip.Prefix, udp *net.UDPConn, raw *raw) *socket {
	c := &socket{ifi: ifi, addrs: addrs, checked: time.Now(), udp: udp, raw: raw, pc: ipv4.NewPacketConn(udp)}
	c.in = make([]ipv4.Message, batchSize)
	for i := range c.in {
		c.in[i].Buffers = [][]byte{make([]byte, packetSize)}
		c.in[i].OOB = ipv4.NewControlMessage(ipv4.FlagDst | ipv4.FlagInterface)
	}
	// It fails on a closed socket only, and then reading does too.
	_ = c.pc.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	return c
}

func (c *socket) link() link {
	if time.Since(c.checked) > addrsAge {
		if addrs, err := ipv4Addrs(c.ifi); err == nil {
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
		var cm ipv4.ControlMessage
		d := datagram{data: m.Buffers[0][:m.N], truncated: m.Flags&unix.MSG_TRUNC != 0}
		if cm.Parse(m.OOB[:m.NN]) == nil {
			d.to = addr(cm.Dst)
		}
		if a, ok := m.Addr.(*net.UDPAddr); ok {
			ap := a.AddrPort()
			d.from = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
		c.got = append(c.got, d)
	}
	return c.got, nil
}

func (c *socket) send(out []outgoing) []error {
	errs := make([]error, len(out))
	var ms []ipv4.Message
	var at []int // the index in out of each of ms
	for i, o := range out {
		if o.raw != (lease.MAC{}) {
			errs[i] = c.raw.send(o)
			continue
		}
		cm := ipv4.ControlMessage{Src: o.from.AsSlice(), IfIndex: c.ifi.Index}
		ms = append(ms, ipv4.Message{Buffers: [][]byte{o.data}, OOB: cm.Marshal(), Addr: net.UDPAddrFromAddrPort(o.to)})
		at = append(at, i)
	}
	for sent := 0; sent < len(ms); {
		n, err := c.pc.WriteBatch(ms[sent:], 0)
		if err != nil || n == 0 { // it is about the first of them
			errs[at[sent]] = errors.Join(err)
			n = 1
		}
		sent += n
	}
	return errs
}
