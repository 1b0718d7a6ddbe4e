package dhcp6

import (
	"errors"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests, replies, drops *prometheus.CounterVec
	commitErrors             prometheus.Counter
	batch, commit            prometheus.Histogram
}

func newMetrics(s *Server) *metrics {
	f := promauto.With(s.Metrics)
	counter := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcp6", Name: name, Help: help}, []string{label})
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "muster", Subsystem: "dhcp6", Name: "leases",
		Help: "Leases of IPv6 addresses, expired ones included."}, func() float64 { return float64(s.Leases.Len()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "muster", Subsystem: "dhcp6", Name: "unknown_leases",
		Help: "Those of machines that are not known, and of addresses in quarantine."}, func() float64 { return float64(s.Leases.Unknown()) })
	return &metrics{
		requests: counter("requests_total", "Well-formed messages of machines, by type.", "type"),
		replies:  counter("replies_total", "Messages that were sent, by type.", "type"),
		drops:    counter("drops_total", "Packets that got no answer, by reason.", "reason"),
		commitErrors: f.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcp6", Name: "commit_errors_total",
			Help: "Batches of leases that could not be made durable."}),
		batch: f.NewHistogram(prometheus.HistogramOpts{Namespace: "muster", Subsystem: "dhcp6", Name: "batch_packets",
			Help: "Packets that were read at once.", Buckets: prometheus.ExponentialBuckets(1, 2, 8)}),
		commit: f.NewHistogram(prometheus.HistogramOpts{Namespace: "muster", Subsystem: "dhcp6", Name: "commit_seconds",
			Help: "Time to make the leases of a batch durable.", Buckets: prometheus.ExponentialBuckets(0.0001, 3, 11)}),
	}
}

// drop counts a packet without an answer.
func (m *metrics) drop(err error) {
	reason := dropMalformed
	errors.As(err, &reason)
	m.drops.WithLabelValues(string(reason)).Inc()
}

func (m *metrics) request(t dhcpv6.MessageType) { m.requests.WithLabelValues(t.String()).Inc() }

func (m *metrics) answer(a *answer) {
	if a.kind == dhcpv6.MessageTypeNone {
		m.drop(drop(a.why))
		return
	}
	m.replies.WithLabelValues(a.kind.String()).Inc()
}
