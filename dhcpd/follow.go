package dhcpd

import (
	"errors"
	"net"
	"os"
	"time"
)

// followEvery is how often a silent socket looks whether its interface is still there. A socket stays bound to
// the interface that it was opened on, and hears nothing of another one with the same name: ifdown and ifup
// of a VLAN, a bond or a bridge make one, and so does a NIC that is plugged in again.
const followEvery = 2 * time.Second

// What follow tells Serve to log.
var (
	errGone  = errors.New("the interface is gone: DHCP is answered there as soon as it is back")
	errAgain = errors.New("the interface was made anew: DHCP is answered there again")
)

// arm gives the socket to read from, unless it was interrupted.
func (c *socket) arm() (*udp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		return nil, os.ErrDeadlineExceeded
	}
	return c.udp, nil
}

// follow opens the sockets again when there is another interface of the name; until that can be served, it
// leaves everything as it is. It returns errGone or errAgain once each, and nil when nothing has changed.
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
	fresh, err := open(c.ifi.Name, c.port)
	if err != nil {
		return nil // it has no address yet, or is down: look again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.interrupted {
		fresh.close()
		return os.ErrDeadlineExceeded
	}
	_, _ = c.udp.close(), c.raw.close() // of an interface that is no more
	c.udp, c.raw, c.ifi = fresh.udp, fresh.raw, fresh.ifi
	c.addrs, c.checked, c.gone = fresh.addrs, fresh.checked, false
	return errAgain
}

func (c *socket) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	c.udp.interrupt()
}

func (c *socket) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.udp.close(), c.raw.close())
}
