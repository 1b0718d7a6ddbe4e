package dhcpd

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"muster/dhcpd/lease"
)

// badCable carries IPv4 frames between two interfaces, and loses, repeats and swaps some.
type badCable struct {
	lost, repeated, swapped atomic.Int64
}

// connect joins two interfaces until the test ends.
func (b *badCable) connect(t *testing.T, left, right string) {
	var ends [2]*packet.Conn
	for i, name := range []string{left, right} {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		// Not ETH_P_ALL, which would carry back what it has sent.
		if ends[i], err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil); err != nil {
			t.Fatal(err)
		}
		if err := ends[i].SetPromiscuous(true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ends[i].Close() })
	}
	for i, from := range ends {
		go b.carry(from, ends[1-i], rand.New(rand.NewPCG(1, uint64(i)))) // ends when from is closed
	}
}

// carry carries one way.
func (b *badCable) carry(from, to *packet.Conn, dice *rand.Rand) {
	buf := make([]byte, 2048)
	var late []byte // a frame that the next one overtakes
	for {
		n, _, err := from.ReadFrom(buf)
		if err != nil {
			return
		}
		frames := [][]byte{slices.Clone(buf[:n])}
		if late != nil {
			frames, late = append(frames, late), nil
			b.swapped.Add(1)
		}
		switch dice.IntN(10) {
		case 0, 1:
			frames = frames[1:]
			b.lost.Add(1)
		case 2, 3:
			frames = append(frames, frames[0])
			b.repeated.Add(1)
		case 4:
			late, frames = frames[0], frames[1:]
		}
		for _, f := range frames {
			_, _ = to.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
		}
	}
}

// bound waits until the script notes that the client has an address, and gives that.
func (c *client) bound() netip.Addr {
	c.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if w := strings.Fields(c.log()); len(w) > 1 && strings.EqualFold(w[0], "bound") {
			return ip(w[1])
		}
		if time.Now().After(deadline) {
			c.Fatalf("the client noted %q, and got no address", c.log())
		}
	}
}

// TestBadCable: real clients over a cable that loses, repeats and swaps packets: each gets an address, its own, and
// keeps it; and however often a packet comes, no address is given twice.
func TestBadCable(t *testing.T) {
	if !inNamespace(t, "busybox", "dhclient") {
		return
	}
	run(t, "ip", "link", "add", "srv0", "type", "veth", "peer", "name", "cable0")
	run(t, "ip", "addr", "add", "10.77.0.1/24", "dev", "srv0")
	run(t, "ip", "link", "set", "srv0", "up")
	run(t, "ip", "link", "set", "cable0", "up")
	c := newClient(t, 1, "cable1", "")
	cable := new(badCable)
	cable.connect(t, "cable0", "cable1")
	s := serve(t, "srv0")
	holder := map[netip.Addr]lease.MAC{}
	const machines = 3
	for _, round := range []string{"first", "again"} {
		for i := range machines {
			c.mac = mac(i + 1)
			c.run("ip", "link", "set", "eth0", "address", c.mac.String())
			p := c.udhcpc("-q")
			a := c.bound()
			_, _ = p.Wait()
			if m, ok := holder[a]; ok && m != c.mac || !ok && len(holder) == machines {
				t.Errorf("%s: %s was given to %s, and %s has it", round, a, c.mac, m)
			}
			holder[a] = c.mac
		}
	}
	c.mac = mac(2)
	c.run("ip", "link", "set", "eth0", "address", c.mac.String())
	stop := c.dhclient()
	if a := c.bound(); holder[a] != c.mac {
		t.Errorf("dhclient got %s, which is %s's", a, holder[a])
	}
	stop()
	for _, l := range s.Leases.All() {
		if holder[l.Addr] != l.MAC {
			t.Errorf("lease of %s for %s, which has %s", l.Addr, l.MAC, holder[l.Addr])
		}
	}
	for len(s.events) > 0 {
		if e := <-s.events; e.Kind == Acked && e.Request.MAC != holder[e.Addr] {
			t.Errorf("%s was given to %s and %s", e.Addr, e.Request.MAC, holder[e.Addr])
		}
	}
	t.Logf("%d frames lost, %d repeated, %d swapped", cable.lost.Load(), cable.repeated.Load(), cable.swapped.Load())
	if cable.lost.Load() == 0 || cable.repeated.Load() == 0 || cable.swapped.Load() == 0 {
		t.Error("the cable was good")
	}
}
