package serve

import (
	"context"
	"net/netip"
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

// forgetDynamic ends the dynamic lease of a node that now has its slot's address.
func (s *server) forgetDynamic(ctx context.Context, mac roles.MAC, slot netip.Addr) {
	l, ok := s.store.Leases().ByMAC(lease.MAC(mac))
	if !ok || l.Addr == slot {
		return
	}
	if err := s.store.CommitLeases(ctx, nil, []lease.MAC{l.MAC}); err != nil {
		s.log.Warn("dynamic lease not released", "mac", mac, "address", l.Addr, "err", err)
	}
}
