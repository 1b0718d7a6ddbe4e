package dhcpd

import (
	"context"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// wire is a port in memory whose reads can fail.
type wire struct {
	*fixture
	in   chan any // []datagram or error
	out  chan outgoing
	stop chan struct{}
}

func (w *wire) read() ([]datagram, error) {
	select {
	case <-w.stop:
		return nil, os.ErrDeadlineExceeded
	case x := <-w.in:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.([]datagram), nil
	}
}

func (w *wire) interrupt() { close(w.stop) }

func (w *wire) send(out []outgoing) []error {
	for _, o := range out {
		w.out <- o
	}
	return make([]error, len(out))
}

func (w *wire) ask(p *dhcpv4.DHCPv4) {
	w.in <- []datagram{{data: p.ToBytes(), to: limitedBroadcast}}
}

// TestServe: it goes on after a failed read, keeps time by the clock, and ends with nil.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{newFixture(t), make(chan any), make(chan outgoing, 10), make(chan struct{})}
		w.Server.Now = nil
		w.Subnets[0].Range.Last = w.Subnets[0].Range.First
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Serve(ctx, &Conn{ports: []port{w}}) }() // ends with ctx
		w.in <- syscall.ENETDOWN
		w.ask(discover(mac(1)))
		a := rackNet.Range.First
		if o := <-w.out; o.to != netip.AddrPortFrom(a, clientPort) {
			t.Errorf("reply to %s", o.to)
		}
		w.ask(selecting(mac(1), a))
		<-w.out
		time.Sleep(time.Hour - time.Second) // of the bubble's clock
		w.ask(discover(mac(2)))
		synctest.Wait()
		if len(w.out) != 0 {
			t.Error("an address was offered before its lease expired")
		}
		time.Sleep(time.Second)
		w.ask(discover(mac(2)))
		<-w.out
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	})
}

// TestStopFinishesTheBatch: what was read before the stop is committed and answered.
func TestStopFinishesTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{newFixture(t), make(chan any), make(chan outgoing, 10), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		w.Server.Commit = func(ctx context.Context, puts []lease.Lease, _ []lease.MAC) error {
			cancel()
			w.Leases.Apply(puts, nil)
			return ctx.Err()
		}
		done := make(chan error)
		go func() { done <- w.Serve(ctx, &Conn{ports: []port{w}}) }() // ends with ctx
		w.ask(initReboot(mac(1), rackNet.Range.First))
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		p, err := dhcpv4.FromBytes((<-w.out).data)
		if err != nil || p.MessageType() != dhcpv4.MessageTypeAck {
			t.Errorf("reply %v, %v", p, err)
		}
	})
}

func TestServeRefusesWrongSubnets(t *testing.T) {
	s := &Server{Subnets: []Subnet{{}}}
	if err := s.Serve(t.Context(), &Conn{}); err == nil {
		t.Error("no error")
	}
}
