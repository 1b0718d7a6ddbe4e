package tftpd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	srv := one(10)
	srv.Metrics, srv.MaxTransfers = reg, 1
	inMemory(t, srv, func(t *testing.T, n *memNet, ended ends) {
		c := n.client(t, 1)
		c.read("f", "windowsize", "4")
		c.want("OACK windowsize=4", "OACK windowsize=4")
		c.ack(0)
		c.want("DATA 1 10")
		n.client(t, 2).read("none") // waits
		n.client(t, 3).read("f")    // busy
		c.silent()
		if got := gather(t, reg)["muster_tftpd_requests_waiting"]; got != 1 {
			t.Errorf("%v requests wait, want 1", got)
		}
		if got := gather(t, reg)["muster_tftpd_transfers_active"]; got != 1 {
			t.Errorf("%v transfers active, want 1", got)
		}
		c.ack(1)
		ended.next(t)
		ended.next(t)
		c.raw([]byte("garbage"))
		c.silent()
	})
	want := map[string]float64{
		"muster_tftpd_dropped_total busy":        1,
		"muster_tftpd_dropped_total malformed":   1,
		"muster_tftpd_retransmissions_total":     1,
		"muster_tftpd_sent_bytes_total":          10,
		"muster_tftpd_transfers_active":          0,
		"muster_tftpd_requests_waiting":          0,
		"muster_tftpd_transfers_total ok":        1,
		"muster_tftpd_transfers_total not_found": 1,
		"muster_tftpd_transfer_seconds":          1, // observations
		"muster_tftpd_windowed_total yes":        1,
	}
	if d := cmp.Diff(want, gather(t, reg)); d != "" {
		t.Error(d)
	}
}

// gather reads a registry: values by name and label.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}

// TestMetricsTaken: two servers on one registry are an error that names the metric, not a panic.
func TestMetricsTaken(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := newMetrics(reg); err != nil {
		t.Fatal(err)
	}
	if err := (&Server{Metrics: reg}).Serve(t.Context(), newMemNet()); err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("Serve = %v", err)
	}
}
