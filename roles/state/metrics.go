package state

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	updates  prometheus.Counter
	commits  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	events   prometheus.Counter
	revision prometheus.Gauge
	leases   prometheus.Gauge
}

// newMetrics makes the metrics and registers them; a nil Registerer registers none.
func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		updates: f.NewCounter(prometheus.CounterOpts{
			Name: "muster_state_updates_total", Help: "Updates of the rack begun; several may share one commit."}),
		commits: f.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_state_commits_total", Help: "Durable commits by what was written (rack, leases, leases6) and result (ok, error)."},
			[]string{"what", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_state_commit_seconds", Help: "Time to make one commit durable.",
			// From 0.1 ms (NVMe with a power-safe cache) to some 3 s (a disk in trouble).
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)},
			[]string{"what"}),
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "muster_state_events_total", Help: "Events added to the log."}),
		revision: f.NewGauge(prometheus.GaugeOpts{
			Name: "muster_state_revision", Help: "Revision of the rack that is visible."}),
		leases: f.NewGauge(prometheus.GaugeOpts{
			Name: "muster_state_leases", Help: "DHCP leases in the store, expired ones included."}),
	}
}

// commit starts the clock of one commit; call what it returns with the outcome.
func (m *metrics) commit(what string) func(error) {
	begin := time.Now()
	return func(err error) {
		result := "ok"
		if err != nil {
			result = "error"
		}
		m.commits.WithLabelValues(what, result).Inc()
		m.seconds.WithLabelValues(what).Observe(time.Since(begin).Seconds())
	}
}
