package dhcp6

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

// Server answers DHCPv6 clients. Its fields must not be changed once Listen or Serve was called.
type Server struct {
	// Subnets are the networks that it answers for; at least one. They must not overlap. Several of them on one
	// link share it: a machine gets an address of the first that has one left.
	Subnets []Subnet
	// ID is the server's DUID (RFC 8415 §11); nil means a DUID-LL of the first interface's MAC. Clients renew with
	// the server whose DUID they know.
	ID []byte
	// Policy says what each machine gets; nil means that nobody is known.
	Policy Policy
	// Leases is the table of all leases, as it was loaded; nil means a new, empty one.
	Leases *lease6.Table
	// Commit makes a batch of leases durable, then applies it to Leases. A Reply with an address is sent only after
	// it returned nil. nil means that leases are kept in memory alone, which is for tests.
	Commit func(ctx context.Context, puts []lease6.Lease, deletes []lease6.Key) error
	// BootFiles is the table of boot files by client architecture; empty means none.
	BootFiles []BootFile
	// FileURL gives the URL of a boot file, for TFTP or HTTP; it normally names r.Server. nil means that firmware is
	// told no file.
	FileURL func(r *Request, file string, http bool) string
	// ScriptURL gives the URL of the script for iPXE; it normally names r.Server. nil means none.
	ScriptURL func(r *Request) string
	// MaxUnknown bounds the leases of machines that the Policy does not know, and of addresses in quarantine,
	// together; 0 means 4096.
	MaxUnknown int
	// UnknownRate bounds how many unknown machines a second and subnet get their first lease; ten times as many
	// may come at once. 0 means 50.
	UnknownRate float64
	// Observe is told everything that happens, after the replies of a batch were sent. It must not block. nil means
	// nobody.
	Observe func(Event)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log gets what an operator should know; nil means silence.
	Log *slog.Logger
	// Metrics is where the server registers its metrics; nil means nowhere.
	Metrics prometheus.Registerer

	once    sync.Once
	metrics *metrics
	id      []byte // the server's DUID

	mu      sync.Mutex // guards all below, and makes batches take turns
	links   map[string]link
	buckets map[*Subnet]*bucket
	sharers sharers
	full    map[*Subnet]time.Time // when an address may be free again
	swept   time.Time             // when expired leases may be looked for again
	said    map[string]time.Time  // when complain said it last
}

// commitTimeout is when a lease that is not durable is given up: clients have repeated their message several
// times by then (RFC 8415 §7.6: after 1, 2, 4 s).
const commitTimeout = 10 * time.Second

// init makes the server ready; mac is that of its first interface.
func (s *Server) init(mac lease.MAC) {
	s.once.Do(func() {
		if s.Leases == nil {
			s.Leases = new(lease6.Table)
		}
		s.links, s.buckets = map[string]link{}, map[*Subnet]*bucket{}
		s.sharers = sharers{}
		s.full, s.said = map[*Subnet]time.Time{}, map[string]time.Time{}
		if s.id = s.ID; len(s.id) == 0 {
			s.id = binary.BigEndian.AppendUint16([]byte{0, 3}, ethernet) // DUID-LL (RFC 8415 §11.4)
			s.id = append(s.id, mac[:]...)
		}
		s.metrics = newMetrics(s)
	})
}

// Serve answers what comes in on conn until ctx ends; then it returns nil. It closes conn. With the zero Conn it only
// waits.
func (s *Server) Serve(ctx context.Context, conn *Conn) error {
	defer conn.Close()
	if len(conn.ports) == 0 {
		<-ctx.Done() // DHCPv6 is off
		return nil
	}
	if err := CheckSubnets(s.Subnets); err != nil {
		return err
	}
	s.init(conn.ports[0].link().mac)
	s.mu.Lock()
	for _, p := range conn.ports {
		s.links[p.link().name] = p.link()
	}
	s.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
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
			s.log().Warn("dhcp6: "+err.Error(), "interface", p.link().name)
		case err != nil:
			// The interface went down, or the like: it will come back, and machines wait for it.
			s.log().Error("dhcp6: cannot read, trying again", "interface", p.link().name, "err", err)
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

func (s *Server) maxUnknown() int {
	if s.MaxUnknown == 0 {
		return maxUnknown
	}
	return s.MaxUnknown
}

func (s *Server) unknownRate() float64 {
	if s.UnknownRate == 0 {
		return unknownRate
	}
	return s.UnknownRate
}

func (s *Server) commit(ctx context.Context, puts []lease6.Lease, deletes []lease6.Key) error {
	if s.Commit == nil {
		s.Leases.Apply(puts, deletes)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return s.Commit(ctx, puts, deletes)
}

// complain logs a warning, but the same one (by key) at most every ten seconds: what a storm of machines makes go
// wrong must not fill the log. s.mu must be held.
func (s *Server) complain(key, msg string, args ...any) {
	now := s.now()
	if now.Sub(s.said[key]) < 10*time.Second {
		return
	}
	if len(s.said) >= 1000 {
		clear(s.said)
	}
	s.said[key] = now
	s.log().Warn("dhcp6: "+msg, args...)
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
