package dhcpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"muster/dhcpd/lease"
)

// Server answers DHCPv4 requests. Its fields must not be changed once Listen or Serve was called.
type Server struct {
	// Subnets are the networks that it answers for; at least one. They must not overlap. Several of them on
	// one link share it: a machine gets an address of the first that has one left.
	Subnets []Subnet
	// Proxy means that somebody else's DHCP server gives the addresses: this one only tells firmware what to boot,
	// and is silent to all else. Subnets say then what networks there are; their ranges are not used. False means
	// that it is the DHCP server.
	Proxy bool
	// Policy says what each machine gets; nil means that all get a dynamic address.
	Policy Policy
	// Leases is the table of all leases, as it was loaded; nil means a new, empty one. Others may read it,
	// and change it as long as what they change is durable.
	Leases *lease.Table
	// Commit makes a batch of leases durable, then applies it to Leases. An ACK is sent only after it
	// returned nil. nil means that leases are kept in memory alone, which is for tests: a restart gives
	// addresses twice.
	Commit func(ctx context.Context, puts []lease.Lease, deletes []lease.MAC) error
	// BootFiles is the table of boot files by client architecture; nil means DefaultBootFiles.
	BootFiles []BootFile
	// Newcomers limits the machines that nobody knows; the zero value has sensible limits.
	Newcomers Newcomers
	// Probe has the server look by ARP (RFC 5227) whether somebody uses an address of a range before it offers it for
	// the first time, on links of its own. It is off by default: a machine that finds its address in use declines it.
	Probe bool
	// SubnetSelection lets clients name the subnet that they want an address of (option 118, RFC 3011), as some
	// access servers and relays do. It is off by default, because any machine can say so.
	SubnetSelection bool
	// FileURL gives the URL of a boot file for firmware that boots from HTTP; it normally names r.Server.
	// nil means that such firmware is told no file.
	FileURL func(r *Request, file string) string
	// ScriptURL gives the URL of the script for iPXE; it normally names r.Server. nil means none.
	ScriptURL func(r *Request) string
	// Observe is told everything that happens, after the replies of a batch were sent. It must not block.
	// nil means nobody.
	Observe func(Event)
	// Tap is given each packet that came in, and each that goes out, for a trace. It must not block, and must
	// copy what it keeps. nil means nobody.
	Tap func(p Packet)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log gets what an operator should know; nil means silence.
	Log *slog.Logger
	// Metrics is where the server registers its metrics; nil means nowhere.
	Metrics prometheus.Registerer

	once    sync.Once
	metrics *metrics

	mu     sync.Mutex // guards all below, and makes batches take turns
	offers offers
	doors  doors                  // what newcomers were let in
	cursor map[*Subnet]netip.Addr // where the search for an unused address goes on
	links  map[string]link        // of the interfaces served, by name
	said   map[string]time.Time   // when complain said it last

	probers   map[string]*prober       // by interface
	waiting   map[lease.MAC]struct{}   // machines that were let in, but no address was probed for
	conflicts map[netip.Addr]time.Time // when they were told
}

// commitTimeout is when a lease that is not durable is given up. Clients have repeated their request several
// times by then (RFC 2131 §4.1: after 4, 8 and 16 s).
const commitTimeout = 10 * time.Second

func (s *Server) init() {
	s.once.Do(func() {
		if s.Leases == nil {
			s.Leases = new(lease.Table)
		}
		s.cursor, s.links, s.said = map[*Subnet]netip.Addr{}, map[string]link{}, map[string]time.Time{}
		s.probers, s.waiting, s.conflicts = map[string]*prober{}, map[lease.MAC]struct{}{}, map[netip.Addr]time.Time{}
		s.metrics = newMetrics(s)
	})
}

// Serve answers what comes in on conn until ctx ends; then it returns nil. It closes conn.
func (s *Server) Serve(ctx context.Context, conn *Conn) error {
	defer conn.Close()
	if err := checkSubnets(s.Subnets); err != nil {
		return err
	}
	s.init()
	s.mu.Lock()
	for _, p := range conn.ports {
		s.links[p.link().name] = p.link() // both ports of an interface have the same addresses
	}
	if s.Probe && !s.Proxy {
		for name := range s.links {
			s.probers[name] = newProber(s, name)
		}
	}
	s.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range s.probers {
		g.Go(func() error { p.run(ctx, openARP); return nil }) // ends when ctx does
	}
	for _, p := range conn.ports {
		g.Go(func() error { return s.servePort(ctx, p) }) // ends when ctx does
	}
	return g.Wait()
}

// servePort answers what comes in on one interface.
func (s *Server) servePort(ctx context.Context, p port) error {
	defer context.AfterFunc(ctx, p.interrupt)()
	var b batch
	for {
		in, err := p.read()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case errors.Is(err, errGone), errors.Is(err, errAgain):
			if l := p.link(); !l.pxe { // the other port's socket says it
				s.log().Warn("dhcpd: "+err.Error(), "interface", l.name)
			}
		case err != nil:
			// The interface went down, or the like: it will come back, and machines wait for it.
			s.log().Error("dhcpd: cannot read, trying again", "interface", p.link().name, "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		case len(in) > 0:
			// What came in before ctx ended is still answered, and not by a policy that was cut short.
			b.run(context.WithoutCancel(ctx), s, p, in)
		}
	}
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func (s *Server) policy() Policy {
	if s.Policy == nil {
		return anyone{}
	}
	return s.Policy
}

func (s *Server) bootFiles() []BootFile {
	if s.BootFiles == nil {
		return DefaultBootFiles
	}
	return s.BootFiles
}

func (s *Server) commit(ctx context.Context, puts []lease.Lease, deletes []lease.MAC) error {
	if s.Commit == nil {
		s.Leases.Apply(puts, deletes)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return s.Commit(ctx, puts, deletes)
}

// complain logs a warning, but the same one (by key) at most every ten seconds: what a storm of machines makes
// go wrong must not fill the log. s.mu must be held.
func (s *Server) complain(key, msg string, args ...any) {
	now := s.now()
	if now.Sub(s.said[key]) < 10*time.Second {
		return
	}
	if len(s.said) >= 1000 {
		clear(s.said)
	}
	s.said[key] = now
	s.log().Warn("dhcpd: "+msg, args...)
}

// isOurs reports whether a is an address of an interface that is served. s.mu must be held.
func (s *Server) isOurs(a netip.Addr) bool {
	for _, l := range s.links {
		if l.has(a) {
			return true
		}
	}
	return false
}
