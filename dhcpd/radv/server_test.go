package radv

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"muster/dhcpd/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a port in memory.
type wire struct {
	in   chan any // solicitation or error
	sent chan netip.Addr
	stop chan struct{}
	fail atomic.Pointer[error]  // of send; nil for none
	last atomic.Pointer[[]byte] // the message of the last send
}

func newWire() *wire {
	return &wire{in: make(chan any), sent: make(chan netip.Addr, 10), stop: make(chan struct{})}
}

func (w *wire) name() string { return "mem0" }
func (w *wire) interrupt()   { close(w.stop) }
func (w *wire) close() error { return nil }

func (w *wire) read(t time.Time) (solicitation, error) {
	var due <-chan time.Time
	if !t.IsZero() {
		due = time.After(time.Until(t))
	}
	select {
	case <-w.stop:
		return solicitation{}, os.ErrDeadlineExceeded
	case <-due:
		return solicitation{}, os.ErrDeadlineExceeded
	case x := <-w.in:
		if err, ok := x.(error); ok {
			return solicitation{}, err
		}
		return x.(solicitation), nil
	}
}

func (w *wire) send(to netip.Addr, message []byte) error {
	w.last.Store(&message)
	if err := w.fail.Load(); err != nil {
		return *err
	}
	w.sent <- to
	return nil
}

var asked = solicitation{data: octets(solicits), from: machineAddr, hopLimit: 255}

// start serves w in the bubble; the function that it returns stops that, cleanly.
func start(t *testing.T, s *Server, w *wire) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, &Conn{ports: []port{w}}) }() // ends with ctx
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v, want nil after a clean stop", err)
		}
	}
}

// TestOneAnswer: a machine that repeats itself gets one answer, within half a second, also after a failed read.
func TestOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWire(), &Server{}
		stop := start(t, s, w)
		w.in <- syscall.ENETDOWN
		w.in <- asked
		began := time.Now()
		for range 3 {
			w.in <- asked
		}
		if to := <-w.sent; to != machineAddr {
			t.Errorf("answer to %s", to)
		}
		if d := time.Since(began); d > maxDelay {
			t.Errorf("answer after %s", d)
		}
		time.Sleep(time.Minute)
		if len(w.sent) != 0 {
			t.Error("more than one answer")
		}
		w.in <- asked // later it may ask again: it was switched off and on
		<-w.sent
		stop()
	})
}

// TestAnswer: a machine is answered if it has become known by the time of the answer.
func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known atomic.Bool
		metrics := prometheus.NewPedanticRegistry()
		w, s := newWire(), &Server{Metrics: metrics, Answer: func(mac lease.MAC) bool { return mac == machine && known.Load() }}
		stop := start(t, s, w)
		w.in <- asked
		w.in <- solicitation{data: asked.data, from: netip.IPv6Unspecified(), hopLimit: 255}
		time.Sleep(maxDelay)
		synctest.Wait()
		known.Store(true)
		w.in <- solicitation{data: asked.data[:8], from: machineAddr, hopLimit: 255} // does not tell its MAC
		time.Sleep(maxDelay)
		synctest.Wait()
		known.Store(false)
		w.in <- asked
		known.Store(true)
		<-w.sent
		for _, err := range []error{dropLink, syscall.ENETUNREACH} {
			w.fail.Store(&err)
			w.in <- asked
			time.Sleep(maxDelay)
			synctest.Wait()
		}
		stop()
		if len(w.sent) != 0 {
			t.Error("a machine that is not booting was answered")
		}
		for reason, want := range map[drop]float64{dropUnknown: 2, dropSource: 1, dropLink: 1, dropSend: 1} {
			if got := count(t, s.metrics.drops.WithLabelValues(string(reason))); got != want {
				t.Errorf("%v solicitations dropped for %s, want %v", got, reason, want)
			}
		}
		if got := count(t, s.metrics.solicitations); got != 6 {
			t.Errorf("%v solicitations counted", got)
		}
	})
}

func count(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue()
}

// TestOff: switched off, it opens nothing and still has a server's life.
func TestOff(t *testing.T) {
	s := &Server{Off: true}
	conn, err := s.Listen("no-such-interface")
	if err != nil || len(conn.ports) != 0 {
		t.Fatalf("%d sockets, error %v", len(conn.ports), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, conn) }() // ends with ctx
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestLinks: on a link that is managed everybody is told to ask DHCPv6, on one with a router nobody is told anything.
func TestLinks(t *testing.T) {
	nobody := func(lease.MAC) bool { return false }
	synctest.Test(t, func(t *testing.T) {
		w, s := newWire(), &Server{Answer: nobody, Links: map[string]Link{
			"mem0": {Managed: true, OnLink: []netip.Prefix{netip.MustParsePrefix("fd77:1::/64")}}}}
		stop := start(t, s, w)
		w.in <- asked
		<-w.sent
		want := octets("86000000 00c00000 00000000 00000000 03044080 ffffffff ffffffff 00000000 fd770001 00000000 00000000 00000000")
		if got := *w.last.Load(); !bytes.Equal(got, want) {
			t.Errorf("advertised % x, want % x", got, want)
		}
		// Who has no address is answered together with all others, and not too often.
		nowhere := solicitation{data: asked.data[:8], from: netip.IPv6Unspecified(), hopLimit: 255}
		var last time.Time
		for range 3 {
			w.in <- nowhere
			w.in <- nowhere
			if to := <-w.sent; to != netip.IPv6LinkLocalAllNodes() {
				t.Errorf("answer to %s", to)
			}
			if d := time.Since(last); d < 3*time.Second || !last.IsZero() && d > 3*time.Second+maxDelay {
				t.Errorf("answer %s after the last", d)
			}
			last = time.Now()
		}
		w.in <- solicitation{data: asked.data, from: netip.IPv6Unspecified(), hopLimit: 255} // tells a MAC: must not be
		time.Sleep(time.Minute)
		if len(w.sent) != 0 {
			t.Error("an invalid solicitation was answered")
		}
		stop()
	})
	synctest.Test(t, func(t *testing.T) {
		w, s := newWire(), &Server{Links: map[string]Link{"mem0": {Silent: true}}}
		stop := start(t, s, w)
		w.in <- asked
		time.Sleep(time.Minute)
		if len(w.sent) != 0 {
			t.Error("an advertisement beside the router's")
		}
		stop()
	})
}
