package serve

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"muster/cmd/muster/config"
	"muster/dhcpd"
	"muster/dhcpd/lease"
)

// TestLookoutHears: a machine that chooses another server makes that known to the doctor, whatever it boots.
func TestLookoutHears(t *testing.T) {
	s := &server{Options: Options{Config: config.Default()}}
	s.log, s.metrics = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	s.watch = s.newLookout()
	r := &dhcpd.Request{MAC: lease.MAC{0x52, 0x54, 0, 0, 0, 1}, Interface: "eth1", ServerID: netip.MustParseAddr("192.0.2.9")}
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Silent, Reason: "exhausted", Request: r})
	if h := s.heard(); len(h) != 0 {
		t.Errorf("heard %+v", h)
	}
	s.sawDHCP(dhcpd.Event{Kind: dhcpd.Silent, Reason: dhcpd.OtherServer, Request: r})
	if h := s.heard(); len(h) != 1 || h[0].Server != r.ServerID || h[0].Interface != "eth1" || h[0].By != r.MAC.String() {
		t.Errorf("heard %+v", h)
	}
}
