package dhcp6

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a wire whose next read fails.
type failing struct {
	*wire
	fault chan error
}

func (f failing) read() ([]datagram, error) {
	select {
	case err := <-f.fault:
		return nil, err
	default:
		return f.wire.read()
	}
}

// TestServe: a lease expires by the clock, a read that fails is tried again, and the end is clean.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := failing{newWire(), make(chan error, 1)}
		w.fault <- errors.New("network is down")
		events := make(chan Event, 100)
		s := &Server{Subnets: []Subnet{rackNet}, Observe: func(e Event) { events <- e }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Serve(ctx, &Conn{ports: []port{w}}) }() // ends with ctx
		c := machine(1)
		w.in <- []datagram{c.packet(c.message(dhcpv6.MessageTypeRequest))}
		<-w.out
		e := <-events
		if e.Kind != Leased || !e.Addr.IsValid() || e.Request.MAC != c.mac {
			t.Errorf("event %+v", e)
		}
		l, _ := s.Leases.ByAddr(e.Addr)
		if !l.Active(time.Now()) {
			t.Error("the lease is over at once")
		}
		time.Sleep(time.Hour)
		if l.Active(time.Now()) {
			t.Error("the lease is active after an hour")
		}
		other := machine(2) // may have the address now
		w.in <- []datagram{other.packet(other.message(dhcpv6.MessageTypeRenew, e.Addr))}
		m, err := dhcpv6.MessageFromBytes((<-w.out).data)
		if err != nil || addrOf(t, m) != e.Addr {
			t.Errorf("got %v, %v", m, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	})
}

func TestOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(Server).Serve(ctx, new(Conn)); err != nil {
		t.Error(err)
	}
}

func TestSendFails(t *testing.T) {
	b := newBench(t, nil)
	b.wire.fail = os.ErrDeadlineExceeded
	c := machine(1)
	b.silent(c, c.message(dhcpv6.MessageTypeSolicit), dropSend)
}

func TestCheckSubnets(t *testing.T) {
	for name, n := range map[string][]Subnet{
		"none": nil, "no prefix": {{}}, "IPv4": {{Prefix: netip.MustParsePrefix("10.0.0.0/24")}}, "short": {{Prefix: netip.MustParsePrefix("fd77::/48")}},
		"long": {{Prefix: netip.MustParsePrefix("fd77::/121")}}, "not masked": {{Prefix: netip.MustParsePrefix("fd77::1/64")}},
		"twice":   {rackNet, rackNet},
		"outside": {{Prefix: rackNet.Prefix, Range: remoteNet.Range}},
		"network": {{Prefix: rackNet.Prefix, Range: Range{netip.MustParseAddr("fd77::"), netip.MustParseAddr("fd77::9")}}},
	} {
		if err := CheckSubnets(n); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, want fs.ErrInvalid", name, err)
		}
	}
}

// TestPick: what is computed is of the range, whatever the prefix.
func TestPick(t *testing.T) {
	for bits := minBits; bits <= maxBits; bits++ {
		n := Subnet{Prefix: netip.PrefixFrom(netip.MustParseAddr("fd77::ab:cdef:1234:5600"), bits).Masked()}
		first, last := n.bounds()
		if last < first || !n.Prefix.Contains(n.at(first)) || !n.Prefix.Contains(n.at(last)) || n.at(first) == n.Prefix.Addr() {
			t.Fatalf("%s: from %s to %s", n.Prefix, n.at(first), n.at(last))
		}
		for i := range 50 {
			if a := n.pick(keyOf(machine(i)), i%tries); !n.inRange(a) {
				t.Errorf("%s: picked %s", n.Prefix, a)
			}
		}
	}
	big := Subnet{Prefix: rackNet.Prefix}
	if first, last := big.bounds(); big.at(first) != netip.MustParseAddr("fd77::1:0") || big.at(last) != netip.MustParseAddr("fd77::ffff:ffff:ffff:ff7f") {
		t.Errorf("from %s to %s", big.at(first), big.at(last))
	}
}

// BenchmarkFourMessages is the cost of a lease without network and disk.
func BenchmarkFourMessages(b *testing.B) {
	s := &Server{Subnets: []Subnet{rackNet}, MaxUnknown: 1 << 30, UnknownRate: 1e9}
	s.init(serverMAC)
	w := newWire()
	var run batch
	for i := 0; b.Loop(); i++ {
		c := machine(i % 100_000)
		for _, kind := range []dhcpv6.MessageType{dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest} {
			run.run(b.Context(), s, w, []datagram{c.packet(c.message(kind))})
			<-w.out
		}
	}
}
