package serve

import (
	"context"

	"muster/cmd/muster/config"
	"muster/cmd/muster/doctor"
	"muster/dhcpd"
)

func (s *server) newLookout() *dhcpd.Lookout {
	return &dhcpd.Lookout{
		Every: s.Config.DHCPD.Lookout, Expected: !s.Config.DHCPD.Addresses(), Log: s.log.With("service", "dhcpd"), Metrics: s.metrics,
	}
}

// lookOut watches for other DHCP servers, unless DHCP is off: then it is somebody else's.
func (s *server) lookOut(ctx context.Context) error {
	if s.Config.DHCPD.Mode == config.ModeOff {
		return nil
	}
	return s.watch.Run(ctx, s.Config.DHCPD.Interfaces...)
}

// heard are the servers that machines chose, and that may not answer the doctor's question.
func (s *server) heard() (out []doctor.Heard) {
	for _, o := range s.watch.Others() {
		if o.Offer == (dhcpd.Offer{}) {
			out = append(out, doctor.Heard{Interface: o.Interface, Server: o.Server, By: o.Chosen.String(), At: o.Last})
		}
	}
	return out
}
