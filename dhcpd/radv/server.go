package radv

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"muster/dhcpd/lease"
)

// Server answers router solicitations. Its fields must not be changed once Listen or Serve was called.
type Server struct {
	// Off switches it off: Listen opens nothing, and Serve only waits. The default is to answer.
	Off bool
	// Answer reports whether the machine with this MAC is one to answer: normally one whose firmware or iPXE
	// has just spoken DHCP with this server. The MAC is zero if the solicitation does not tell it. It is
	// called for each interface at the same time as for others, up to half a second after the solicitation
	// came, and must not block. nil means everybody.
	Answer func(mac lease.MAC) bool
	// Links say what is different on an interface, by its name; nil means that all are alike.
	Links map[string]Link
	// Log gets what an operator should know; nil means silence.
	Log *slog.Logger
	// Metrics is where the server registers its metrics; nil means nowhere.
	Metrics prometheus.Registerer

	once    sync.Once
	metrics *metrics
}

// Link says what is advertised on one interface. The zero Link is nothing but "no router here", to those whom Answer
// knows.
type Link struct {
	// Silent means that nobody is answered: the link has a router, and an advertisement that says nothing must not
	// come before the router's, from which iPXE learns to ask DHCPv6.
	Silent bool
	// Managed tells everybody who asks to ask DHCPv6 (the flags M and O, RFC 4861 §4.2), whatever Answer says. It is
	// for links without an IPv6 router.
	Managed bool
	// OnLink are the prefixes whose addresses are on the link (flag L, not A, RFC 4861 §4.6.2): without one, a host
	// that has its address by DHCPv6 looks for a router to reach its neighbours.
	OnLink []netip.Prefix
}

// port receives and sends on one interface: a socket, or a test's memory.
type port interface {
	name() string
	// read waits for a solicitation until t, if that is not zero; then the error is os.ErrDeadlineExceeded.
	// The data is valid until the next read.
	read(t time.Time) (solicitation, error)
	// send sends an advertisement. Its error is dropLink if the interface must not or cannot send it.
	send(to netip.Addr, message []byte) error
	// interrupt makes read return, now and ever after.
	interrupt()
	close() error
}

func (s *Server) init() { s.once.Do(func() { s.metrics = newMetrics(s.Metrics) }) }

// Conn holds the open sockets of all interfaces.
type Conn struct{ ports []port }

// Close closes the sockets. Serve does it by itself.
func (c *Conn) Close() error {
	var errs []error
	for _, p := range c.ports {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Serve answers what comes in on conn until ctx ends; then it returns nil. It closes conn.
func (s *Server) Serve(ctx context.Context, conn *Conn) error {
	defer conn.Close()
	s.init()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range conn.ports {
		g.Go(func() error { return s.servePort(ctx, p) }) // ends when ctx does
	}
	if len(conn.ports) == 0 {
		<-ctx.Done() // where there is no IPv6, a server that does nothing is no failure
	}
	return g.Wait()
}

// servePort answers what comes in on one interface.
func (s *Server) servePort(ctx context.Context, p port) error {
	defer context.AfterFunc(ctx, p.interrupt)()
	q := queue{}
	var all time.Time // when all nodes were told last
	for {
		in, err := p.read(q.next())
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			s.log().Error("radv: cannot read, trying again", "interface", p.name(), "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		default:
			s.receive(p, q, in, all)
		}
		q.take(time.Now(), func(to netip.Addr, mac lease.MAC) {
			s.answer(p, to, mac)
			if to == allNodes {
				all = time.Now()
			}
		})
	}
}

// receive puts the answer to a solicitation into the queue. Who has no address yet can be answered only together with
// all nodes (RFC 4861 §6.2.6): on managed links, where everybody may hear it, and not too often. all is when they
// did last. UEFI firmware (EDK2) never solicits otherwise.
func (s *Server) receive(p port, q queue, in solicitation, all time.Time) {
	s.metrics.solicitations.Inc()
	now := time.Now()
	mac, err := in.parse()
	if err == dropSource && mac == (lease.MAC{}) && in.from.IsUnspecified() && s.Links[p.name()].Managed {
		in.from, err = allNodes, nil
		if next := all.Add(minBetween); next.After(now) {
			now = next
		}
	}
	if err == nil && !q.add(in.from, mac, now) {
		err = dropFull
	}
	if err != nil {
		s.metrics.drop(err)
	}
}

// answer sends an advertisement, if the machine is to have one. It is asked now, not when the solicitation
// came: iPXE sends that together with its DHCPDISCOVER, by which the machine becomes known.
func (s *Server) answer(p port, to netip.Addr, mac lease.MAC) {
	l := s.Links[p.name()]
	switch {
	case l.Silent:
		s.metrics.drop(dropRouter)
		return
	case !l.Managed && s.Answer != nil && !s.Answer(mac):
		s.metrics.drop(dropUnknown)
		return
	}
	if err := p.send(to, l.message()); err != nil {
		s.metrics.drop(err)
		s.log().Debug("radv: no answer", "interface", p.name(), "mac", mac, "to", to, "err", err)
		return
	}
	s.metrics.advertisements.Inc()
	s.log().Debug("radv: told a machine not to wait for a router", "interface", p.name(), "mac", mac, "to", to)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
