package dhcpd

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

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
	port    int
	addrs   []netip.Prefix
	checked time.Time // when addrs were read

	in, out *vector
	bufs    [][]byte // of in
	got     []datagram
	errs    []error
	look    time.Time // when follow is due
	gone    bool      // follow has told that the interface is gone

	mu          sync.Mutex // guards what follows against interrupt and close; the rest is the reader's
	udp         *udp
	raw         *raw
	interrupted bool
}

// newSocket takes conn over.
func newSocket(ifi *net.Interface, addrs []netip.Prefix, port int, conn *net.UDPConn, raw *raw) (*socket, error) {
	udp, err := newUDP(conn)
	if err != nil {
		return nil, err
	}
	c := &socket{ifi: ifi, port: port, addrs: addrs, checked: time.Now(), udp: udp, raw: raw, in: newVector(false), out: newVector(false)}
	room := make([]byte, batchSize*packetSize)
	for i := range batchSize {
		b := room[i*packetSize : (i+1)*packetSize : (i+1)*packetSize]
		c.bufs = append(c.bufs, b)
		c.in.payload(i, b)
	}
	return c, nil
}

func (c *socket) link() link {
	if time.Since(c.checked) > addrsAge {
		if addrs, err := ipv4Addrs(c.ifi); err == nil {
			c.addrs = addrs
		}
		c.checked = time.Now()
	}
	return link{name: c.ifi.Name, index: c.ifi.Index, mac: lease.MAC(c.ifi.HardwareAddr), addrs: c.addrs, pxe: c.port == pxePort}
}

func (c *socket) read() ([]datagram, error) {
	u, err := c.arm()
	if err != nil {
		return nil, err
	}
	if time.Now().After(c.look) { // a server that is never silent looks as well
		c.look = time.Now().Add(followEvery)
		return nil, c.follow()
	}
	c.in.receive()
	switch err := u.receive(c.in, c.look); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	case err != nil:
		return nil, err
	}
	c.got = c.got[:0]
	for i := range c.in.n {
		c.got = append(c.got, c.in.got(i, c.bufs[i]))
	}
	return c.got, nil
}

// send sends the packets that need no ARP, then the others: no machine gets two.
func (c *socket) send(out []outgoing) []error {
	c.errs = append(c.errs[:0], make([]error, len(out))...)
	c.raw.send(out, c.errs)
	at := 0 // the index in out of the first message of the vector
	next := func() int {
		for at < len(out) && out[at].raw != (lease.MAC{}) {
			at++
		}
		return at
	}
	c.out.fill = 0
	for i := range out {
		if o := &out[i]; o.raw == (lease.MAC{}) {
			c.out.add(o, c.ifi.Index)
		}
	}
	for c.out.fill > 0 {
		err := c.udp.send(c.out)
		n := c.out.n
		if err != nil || n == 0 { // it is about the first of them
			c.errs[next()] = err
			n = 1
		}
		for range n {
			next()
			at++
		}
		c.out.skip(n)
	}
	return c.errs
}
