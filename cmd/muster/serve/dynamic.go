package serve

import (
	"context"
	"time"

	"muster/dhcpd/lease"
	"muster/roles"
)

// keepLease prolongs the dynamic lease of a machine that waits in its agent: the agent speaks no DHCP, and
// the address that it waits with must not be given to another machine.
func (s *server) keepLease(ctx context.Context, n roles.Node) {
	l, ok := s.store.Leases().ByMAC(lease.MAC(n.MAC))
	net, known := s.networkOf(l.Addr)
	if !ok || !known {
		return
	}
	term := net.Lease
	if term == 0 {
		term = time.Hour
	}
	now := time.Now()
	if l.Expires.Sub(now) > term/2 {
		return // a poll comes every half minute; the disk need not know of each
	}
	l.Expires = now.Add(term).Truncate(time.Second)
	if err := s.store.CommitLeases(ctx, []lease.Lease{l}, nil); err != nil {
		s.log.Warn("lease of a waiting machine not prolonged", "mac", n.MAC, "address", l.Addr, "err", err)
	}
}

// tidyPause spares the rack a look at every node for every event of a boot storm.
const tidyPause = time.Second

// tidyLeases ends the dynamic leases of nodes that serve from their slot's address: they need the other one
// no more, and so soon after a boot the pool of dynamic addresses is what runs out. It ends with ctx.
func (s *server) tidyLeases(ctx context.Context) error {
	for {
		rev := s.registry.Revision()
		nodes, err := s.registry.Nodes()
		if err != nil {
			return err
		}
		if left := s.leftovers(nodes); len(left) > 0 {
			if err := s.store.CommitLeases(ctx, nil, left); err != nil && ctx.Err() == nil {
				s.log.Warn("dynamic leases not released", "count", len(left), "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tidyPause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.registry.Watch(rev):
		}
	}
}

// leftovers are the holders of dynamic leases who serve from another address.
func (s *server) leftovers(nodes []roles.Node) (out []lease.MAC) {
	for _, n := range nodes {
		if n.State != roles.StateReady || n.Slot == "" {
			continue
		}
		if l, ok := s.store.Leases().ByMAC(lease.MAC(n.MAC)); ok && l.Addr != n.Address {
			out = append(out, l.MAC)
		}
	}
	return out
}
