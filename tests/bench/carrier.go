package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// carrier is a bad cable: two tap interfaces, between which it carries frames after a delay, and loses some of them.
type carrier struct {
	*cable
	taps [2]*os.File
	wg   sync.WaitGroup
}

// newCarrier gives the namespaces of w a carrier instead of their veth pair. Every frame takes delay in its direction,
// and of 100 so many are lost, always the same ones.
func newCarrier(w *cable, delay time.Duration, percent int) (*carrier, error) {
	c := &carrier{cable: w}
	addrs := [2]string{serverAddr, relayAddr}
	for i, namespace := range []string{w.servers, w.clients} {
		err := inside(namespace, func() (err error) {
			_ = exec.Command("ip", "link", "del", "eth0").Run()
			if c.taps[i], err = openTap("eth0"); err != nil {
				return err
			}
			out, err := exec.Command("sh", "-ec", "ip addr add "+addrs[i]+"/14 dev eth0; ip link set eth0 up").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			c.close()
			return nil, err
		}
	}
	c.carry(c.taps[0], c.taps[1], delay, percent)
	c.carry(c.taps[1], c.taps[0], delay, percent)
	return c, nil
}

// close ends the goroutines, too.
func (c *carrier) close() {
	for _, t := range c.taps {
		if t != nil {
			_ = t.Close()
		}
	}
	c.wg.Wait()
}

// carry takes frames from one end to the other, in two goroutines that end when the taps are closed.
func (c *carrier) carry(from, to *os.File, delay time.Duration, percent int) {
	type frame struct {
		due time.Time
		p   []byte
	}
	way := make(chan frame, 4096)
	c.wg.Go(func() {
		defer close(way)
		dice, p := rand.New(rand.NewPCG(1, 2)), make([]byte, 65536)
		for {
			n, err := from.Read(p)
			if err != nil {
				return
			}
			if dice.IntN(100) < percent {
				continue
			}
			select {
			case way <- frame{time.Now().Add(delay), append([]byte(nil), p[:n]...)}:
			default: // the cable is full
			}
		}
	})
	c.wg.Go(func() {
		for f := range way {
			if d := time.Until(f.due); d > 0 {
				time.Sleep(d)
			}
			_, _ = to.Write(f.p)
		}
	})
}

// openTap makes a tap interface in this thread's namespace.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}
