package dhcpd

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"muster/dhcpd/lease"
)

// Lookout keeps watch for other DHCP servers on the segments of this one: it asks for them now and then, as Detect does,
// and is told of machines that choose one. Its fields must not be changed once it is used.
type Lookout struct {
	// Every is how often it asks; zero or less means never.
	Every time.Duration
	// Expected means that another server is meant to be there (Server.Proxy): it is no reason for a warning.
	Expected bool
	// Log is told of each server that appears, and when it is gone; nil means silence.
	Log *slog.Logger
	// Metrics is where the number of servers is registered; nil means nowhere.
	Metrics prometheus.Registerer
	// Look asks on an interface; nil means what Detect does, but without promiscuous mode, which the kernel logs.
	Look func(ctx context.Context, iface string) ([]Offer, error)
	// Own gives the addresses of this machine; nil means those of all its interfaces.
	Own func() []netip.Addr

	mu     sync.Mutex // guards all below
	others map[otherKey]Other
	count  *prometheus.GaugeVec
}

// Other is another DHCP server.
type Other struct {
	// Interface is where it is, Server how it calls itself (option 54).
	Interface string
	Server    netip.Addr
	// Offer is what it said last when it was asked; zero for one that machines chose, but that does not answer strangers.
	Offer Offer
	// Chosen is the machine that chose it last; zero if none was heard.
	Chosen lease.MAC
	// Since is when it was seen first, Last when it was seen last.
	Since, Last time.Time
}

type otherKey struct {
	iface  string
	server netip.Addr
}

const (
	// lookFor is how long answers are waited for: a server that probes before it offers takes a second or two, dnsmasq 3.
	lookFor = 6 * time.Second
	// looksToForget is after how many looks without an answer a server is gone: packets get lost.
	looksToForget = 3
	// heardTime is how long a server stays that only machines have told of, which they do when they boot.
	heardTime = 24 * time.Hour
	// maxHeard bounds the servers of all interfaces, because machines can make them up.
	maxHeard = 64
)

// Run looks until ctx ends, and then returns nil.
func (l *Lookout) Run(ctx context.Context, interfaces ...string) error {
	every := l.Every
	if every <= 0 {
		every = heardTime / 24 // to forget
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if l.Every > 0 {
			l.lookAll(ctx, interfaces)
		}
		l.forget(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// lookAll asks on all interfaces at once.
func (l *Lookout) lookAll(ctx context.Context, interfaces []string) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	look := l.Look
	if look == nil {
		look = func(ctx context.Context, iface string) ([]Offer, error) { return detect(ctx, iface, false) }
	}
	var all sync.WaitGroup
	for _, iface := range interfaces {
		all.Go(func() { // ends with ctx
			offers, err := look(ctx, iface)
			if err != nil {
				l.log().Debug("dhcpd: could not look for other servers", "interface", iface, "err", err)
			}
			for _, o := range offers {
				l.note(iface, o.Server, func(x *Other) { x.Offer = o })
			}
		})
	}
	all.Wait()
}

// Heard notes that a machine chose a server, as its REQUEST says to everybody.
func (l *Lookout) Heard(iface string, server netip.Addr, by lease.MAC) {
	if server.IsValid() {
		l.note(iface, server, func(x *Other) { x.Chosen = by })
	}
}

// Others gives the servers that are there, in the order of their interfaces and addresses.
func (l *Lookout) Others() []Other {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Other, 0, len(l.others))
	for _, o := range l.others {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Other) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Server.Compare(b.Server))
	})
	return out
}

// note notes a server, and tells of one that is new.
func (l *Lookout) note(iface string, server netip.Addr, set func(*Other)) {
	key, now := otherKey{iface, server}, time.Now()
	l.mu.Lock()
	o, known := l.others[key]
	if !known {
		o = Other{Interface: iface, Server: server, Since: now}
	}
	o.Last = now
	set(&o)
	if !known && (slices.Contains(l.own(), server) || !l.room(&o)) {
		l.mu.Unlock()
		return
	}
	if l.others == nil {
		l.others = map[otherKey]Other{}
	}
	l.others[key] = o
	l.counts().WithLabelValues(iface).Set(float64(l.number(iface)))
	l.mu.Unlock()
	if known {
		return
	}
	level, msg := slog.LevelWarn, "dhcpd: another DHCP server answers here: machines take whichever is faster"
	if l.Expected {
		level, msg = slog.LevelInfo, "dhcpd: found a DHCP server beside this one"
	}
	args := []any{"interface", iface, "server", server}
	if o.Offer != (Offer{}) {
		args = append(args, "offers", o.Offer.Address, "file", o.Offer.BootFile)
	}
	if o.Chosen != (lease.MAC{}) {
		args = append(args, "mac", o.Chosen)
	}
	l.log().Log(context.Background(), level, msg, args...)
}

// room reports whether there is room for o. A server that answers takes the place of one that a machine may have made up.
// l.mu is held.
func (l *Lookout) room(o *Other) bool {
	if len(l.others) < maxHeard {
		return true
	}
	for key, x := range l.others {
		if o.Offer != (Offer{}) && x.Offer == (Offer{}) {
			delete(l.others, key)
			l.counts().WithLabelValues(key.iface).Set(float64(l.number(key.iface)))
			return true
		}
	}
	return false
}

// forget drops the servers that are gone.
func (l *Lookout) forget(now time.Time) {
	l.mu.Lock()
	var gone []Other
	for key, o := range l.others {
		keep := heardTime
		if l.Every > 0 && o.Offer != (Offer{}) {
			keep = looksToForget*l.Every + lookFor
		}
		if now.Sub(o.Last) < keep {
			continue
		}
		delete(l.others, key)
		gone = append(gone, o)
		l.counts().WithLabelValues(key.iface).Set(float64(l.number(key.iface)))
	}
	l.mu.Unlock()
	for _, o := range gone {
		l.log().Info("dhcpd: the other DHCP server is gone", "interface", o.Interface, "server", o.Server, "last", o.Last)
	}
}

// number counts those of an interface. l.mu is held.
func (l *Lookout) number(iface string) (n int) {
	for key := range l.others {
		if key.iface == iface {
			n++
		}
	}
	return n
}

// counts is the metric, made when it is needed first. l.mu is held.
func (l *Lookout) counts() *prometheus.GaugeVec {
	if l.count == nil {
		l.count = promauto.With(l.Metrics).NewGaugeVec(prometheus.GaugeOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "other_servers",
			Help: "Other DHCP and proxyDHCP servers on the segment."}, []string{"interface"})
	}
	return l.count
}

func (l *Lookout) log() *slog.Logger {
	if l.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.Log
}

func (l *Lookout) own() (out []netip.Addr) {
	if l.Own != nil {
		return l.Own()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
