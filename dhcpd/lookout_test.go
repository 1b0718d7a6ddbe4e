package dhcpd

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/dhcpd/lease"
)

// TestLookout: a server that comes is told of once, and once when it has gone; one lost answer is no reason.
func TestLookout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var there atomic.Bool
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		rogue := Offer{Server: ip("10.77.0.9"), Address: ip("10.77.0.50"), BootFile: "other.efi"}
		l := &Lookout{Every: 5 * time.Minute, Metrics: reg, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Own: func() []netip.Addr { return []netip.Addr{server} },
			Look: func(ctx context.Context, iface string) ([]Offer, error) {
				<-ctx.Done()
				if iface == "eth2" || !there.Load() {
					return []Offer{{Server: server}}, nil // this very server, over another cable
				}
				return []Offer{rogue}, nil
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx, "eth1", "eth2") }() // ends with ctx
		time.Sleep(time.Minute)
		if o := l.Others(); len(o) != 0 {
			t.Errorf("found %+v", o)
		}
		there.Store(true)
		time.Sleep(time.Hour)
		o := l.Others()
		if len(o) != 1 || o[0].Server != rogue.Server || o[0].Interface != "eth1" || o[0].Offer != rogue || time.Since(o[0].Last) > l.Every {
			t.Errorf("found %+v", o)
		}
		if n := metric(t, reg, "muster_dhcpd_other_servers", "eth1"); n != 1 {
			t.Errorf("counted %v", n)
		}
		there.Store(false)
		time.Sleep(2 * l.Every)
		if len(l.Others()) != 1 {
			t.Error("forgotten though it may be a lost packet")
		}
		time.Sleep(3 * l.Every)
		if o := l.Others(); len(o) != 0 {
			t.Errorf("not forgotten: %+v", o)
		}
		if n := metric(t, reg, "muster_dhcpd_other_servers", "eth1"); n != 0 {
			t.Errorf("counted %v", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := strings.Count(log.String(), "another DHCP server"); n != 1 || strings.Count(log.String(), "is gone") != 1 {
			t.Errorf("log:\n%s", &log)
		}
	})
}

// TestLookoutHears: who never looks still hears what machines choose, in bounds.
func TestLookoutHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Lookout{Own: func() []netip.Addr { return []netip.Addr{server} },
			Look: func(context.Context, string) ([]Offer, error) { t.Error("it looked"); return nil, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx, "eth1") }() // ends with ctx
		l.Heard("eth1", server, mac(1))
		l.Heard("eth1", netip.Addr{}, mac(1))
		l.Heard("eth1", ip("10.77.0.9"), mac(1))
		time.Sleep(23 * time.Hour)
		l.Heard("eth1", ip("10.77.0.9"), mac(2))
		time.Sleep(23 * time.Hour)
		if o := l.Others(); len(o) != 1 || o[0].Chosen != mac(2) || o[0].Offer != (Offer{}) {
			t.Errorf("heard %+v", o)
		}
		time.Sleep(3 * time.Hour)
		if o := l.Others(); len(o) != 0 {
			t.Errorf("not forgotten: %+v", o)
		}
		a := ip("10.0.0.1")
		for range 1000 {
			a = a.Next()
			l.Heard("eth1", a, lease.MAC{2})
		}
		if n := len(l.Others()); n != maxHeard {
			t.Errorf("%d made-up servers are remembered, want %d", n, maxHeard)
		}
		// They do not hide one that answers.
		rogue := Offer{Server: a.Next()}
		for _, o := range []Offer{rogue, {Server: server}} {
			l.note("eth1", o.Server, func(x *Other) { x.Offer = o })
		}
		o := l.Others()
		if n := len(o); n != maxHeard || o[n-1].Offer != rogue {
			t.Errorf("%d servers are remembered, the last is %+v", n, o[n-1])
		}
		cancel()
		<-done
	})
}
