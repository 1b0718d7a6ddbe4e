package serve

import (
	"context"
	"fmt"
	"io/fs"
	"slices"

	"muster/cmd/muster/config"
	"muster/dhcpd/lease"
	"muster/dhcpd/trace"
	"muster/roles"
	"muster/roles/api"
)

// Watch makes api's watches of a hub's.
func Watch(h *trace.Hub) func(macs []roles.MAC) (api.Watch, error) {
	return func(macs []roles.MAC) (api.Watch, error) {
		var of []lease.MAC
		for _, m := range macs {
			of = append(of, lease.MAC(m))
		}
		w, err := h.Watch(of...)
		if err != nil {
			return nil, err
		}
		return watch{w}, nil
	}
}

type watch struct{ *trace.Watcher }

// Next implements api.Watch.
func (w watch) Next(ctx context.Context) (api.TracePacket, error) {
	r, err := w.Watcher.Next(ctx)
	if err != nil || r.Data == nil {
		return api.TracePacket{Time: r.Time, Lost: r.Lost}, err
	}
	return api.TracePacket{
		Time: r.Time, Interface: r.Interface, MAC: roles.MAC(r.MAC), In: r.In, From: r.From, To: r.To, Data: r.Data, Drop: r.Drop,
		Summary: trace.Summary(r.Packet), Lost: r.Lost,
	}, nil
}

// operators connects what operators do with DHCP: they change leases, and watch packets.
func (s *server) operators() {
	s.leases.Store, s.leases.Subnets = s.store, s.Config.DHCPD.Subnets
	for _, n := range s.networks {
		s.leases.Own = append(s.leases.Own, n.Server)
	}
	s.dhcp.Commit, s.dhcp.Tap = s.leases.Commit, s.trace.Tap
	s.api.Leases, s.api.Leasing, s.api.Trace = s.allLeases, &s.leases, Watch(&s.trace)
	if d := &s.Config.DHCPD; !d.Addresses() {
		s.api.Leasing = noLeases{d.Why()}
		if d.Mode == config.ModeOff {
			s.api.Trace = func([]roles.MAC) (api.Watch, error) {
				return nil, fmt.Errorf("there are no packets to show: %s: %w", d.Why(), fs.ErrNotExist)
			}
		}
	}
}

// allLeases lists those of IPv4 by address, and then those of IPv6.
func (s *server) allLeases(ctx context.Context) ([]api.LeaseView, error) {
	out, err := s.leases.List(ctx)
	six := s.leases6()
	slices.SortFunc(six, func(a, b api.LeaseView) int { return a.Address.Compare(b.Address) })
	now := s.leases.now()
	for _, v := range six {
		if v.State = api.LeaseActive; !v.Expires.After(now) {
			v.State = api.LeaseExpired
		}
		out = append(out, v)
	}
	return out, err
}
