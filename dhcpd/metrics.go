package dhcpd

import (
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests, replies, drops *prometheus.CounterVec
	commitErrors, conflicts  prometheus.Counter
	batch, commit            prometheus.Histogram
	// byType and answered are requests and replies by message type: to find a counter by its label costs as much as
	// a whole reply.
	byType, answered [9]prometheus.Counter
	byReason         map[drop]prometheus.Counter
}

func newMetrics(s *Server) *metrics {
	f := promauto.With(s.Metrics)
	counter := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcpd", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		byReason: map[drop]prometheus.Counter{},
		requests: counter("requests_total", "Well-formed packets of machines, by message type.", "type"),
		replies:  counter("replies_total", "Packets that were sent, by message type.", "type"),
		drops:    counter("drops_total", "Packets that got no answer, by reason.", "reason"),
		commitErrors: f.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "commit_errors_total",
			Help: "Batches of leases that could not be made durable."}),
		conflicts: f.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "conflicts_total",
			Help: "Addresses that a machine uses which they do not belong to, as seen by ARP."}),
		batch: f.NewHistogram(prometheus.HistogramOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "batch_packets",
			Help: "Packets that were read at once.", Buckets: prometheus.ExponentialBuckets(1, 2, 8)}),
		commit: f.NewHistogram(prometheus.HistogramOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "commit_seconds",
			Help: "Time to make the leases of a batch durable.", Buckets: prometheus.ExponentialBuckets(0.0001, 3, 11)}),
	}
	for _, t := range requestTypes {
		m.byType[t] = m.requests.WithLabelValues(typeName(t))
	}
	for _, t := range []dhcpv4.MessageType{dhcpv4.MessageTypeNone, dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak} {
		m.answered[t] = m.replies.WithLabelValues(typeName(t))
	}
	for _, d := range drops {
		m.byReason[d] = m.drops.WithLabelValues(string(d))
	}
	for i := range s.Subnets {
		n := &s.Subnets[i]
		if !n.Range.First.IsValid() {
			continue
		}
		labels := prometheus.Labels{"subnet": n.Prefix.String()}
		f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "pool_addresses", ConstLabels: labels,
			Help: "Addresses of the dynamic range."}, func() float64 { return float64(n.Range.size()) })
		f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "muster", Subsystem: "dhcpd", Name: "pool_active", ConstLabels: labels,
			Help: "Addresses of the dynamic range that are leased or in quarantine."},
			func() float64 { return float64(s.Leases.Active(n.Range.First, n.Range.Last, s.now())) })
	}
	return m
}

func (m *metrics) drop(d drop)                  { m.byReason[d].Inc() }
func (m *metrics) request(t dhcpv4.MessageType) { m.byType[t].Inc() }

func (m *metrics) answer(a *answer) {
	switch {
	case a.kind == bootReply:
		m.answered[dhcpv4.MessageTypeNone].Inc()
	case a.kind != dhcpv4.MessageTypeNone:
		m.answered[a.kind].Inc()
	case a.why != "":
		m.drop(drop(a.why))
	}
}
