package serve

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"muster/cmd/muster/config"
	"muster/dhcpd/lease"
	"muster/dhcpd/leasefile"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/state"
)

// Leases is what operators see of the leases of DHCP, and do with them.
type Leases struct {
	// Store has the leases, the pools and the nodes. Required.
	Store *state.Store
	// Subnets are those of muster.yaml, with their hosts. Own are the addresses of this server.
	Subnets []config.Subnet
	Own     []netip.Addr
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// mu keeps DHCP's commits (they share it) from those that operators ask for: between what an import or a release
	// read and what it wrote, no lease changes.
	mu     sync.RWMutex
	recent atomic.Pointer[arrivals]
}

// arrivals are leases that were imported a moment ago. A batch of DHCP requests that was decided before, and is
// committed after, must not give their addresses to others.
type arrivals struct {
	holders map[netip.Addr]lease.MAC
	until   time.Time
}

// arrivalTime is far longer than a batch waits for its commit.
const arrivalTime = time.Minute

func (l *Leases) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// Commit is DHCP's way to the store.
func (l *Leases) Commit(ctx context.Context, puts []lease.Lease, deletes []lease.MAC) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if a := l.recent.Load(); a != nil {
		if l.now().After(a.until) {
			l.recent.CompareAndSwap(a, nil)
		} else if err := l.late(a, puts); err != nil {
			return err
		}
	}
	return l.Store.CommitLeases(ctx, puts, deletes)
}

// late finds a lease that was decided without the import that holds its address now. Its machine asks again.
func (l *Leases) late(a *arrivals, puts []lease.Lease) error {
	for _, p := range puts {
		m, ok := a.holders[p.Addr]
		if !ok || m == p.MAC || p.Declined {
			continue
		}
		if held, ok := l.Store.Leases().ByAddr(p.Addr); ok && held.MAC == m && held.Active(l.now()) {
			return fmt.Errorf("%s was imported for another machine a moment ago: %w", p.Addr, fs.ErrExist)
		}
	}
	return nil
}

// List gives the leases by address.
func (l *Leases) List(context.Context) ([]api.LeaseView, error) {
	var out []api.LeaseView
	now := l.now()
	for _, one := range l.Store.Leases().All() { // in the order of addresses
		out = append(out, viewOf(one, now))
	}
	return out, nil
}

func viewOf(l lease.Lease, now time.Time) api.LeaseView {
	v := api.LeaseView{MAC: roles.MAC(l.MAC), Address: l.Addr, Hostname: l.Hostname, Expires: l.Expires, State: leasefile.State(l, now)}
	if l.Declined {
		v.MAC = roles.MAC{} // the quarantine's is no machine's
	}
	return v
}

// ReleaseLease implements api.Leasing. An active lease ends, and its machine gets the address back while nobody else
// needs it; one that has expired is forgotten, and a declined address is anybody's again.
func (l *Leases) ReleaseLease(ctx context.Context, key string) (api.LeaseView, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, err := l.find(key)
	if err != nil {
		return api.LeaseView{}, err
	}
	now := l.now()
	was := viewOf(one, now)
	if was.State == api.LeaseActive {
		one.Expires = now.Truncate(time.Second)
		err = l.Store.CommitLeases(ctx, []lease.Lease{one}, nil)
	} else {
		err = l.Store.CommitLeases(ctx, nil, []lease.MAC{one.MAC})
	}
	return was, err
}

// find looks a lease up by its MAC or address.
func (l *Leases) find(key string) (lease.Lease, error) {
	table := l.Store.Leases()
	if mac, err := roles.ParseMAC(key); err == nil {
		if one, ok := table.ByMAC(lease.MAC(mac)); ok {
			return one, nil
		}
		return lease.Lease{}, fmt.Errorf("%s has no lease: %w", mac, fs.ErrNotExist)
	}
	a, err := netip.ParseAddr(key)
	if err != nil {
		return lease.Lease{}, fmt.Errorf("%q is neither a MAC nor an address: %w", key, fs.ErrInvalid)
	}
	if one, ok := table.ByAddr(a); ok {
		return one, nil
	}
	return lease.Lease{}, fmt.Errorf("there is no lease of %s: %w", a, fs.ErrNotExist)
}
