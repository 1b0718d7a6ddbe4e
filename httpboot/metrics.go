package httpboot

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics counts what the server does. Its methods work without a registry.
type metrics struct {
	requests, rejected, transfers, bytes, scripts *prometheus.CounterVec
	copied                                        prometheus.Counter
	polls, nodes                                  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, conns func() float64) *metrics {
	f := promauto.With(reg)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "muster_httpboot_" + name, Help: help}, labels)
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "muster_httpboot_connections", Help: "Open connections."}, conns)
	return &metrics{
		requests:  vec("requests_total", "Requests answered, but for files that were sent.", "endpoint", "status"),
		rejected:  vec("rejected_total", "Requests and connections that make no sense or are too many.", "endpoint", "reason"),
		transfers: vec("transfers_total", "Files sent; result is complete or partial.", "area", "result"),
		bytes:     vec("sent_bytes_total", "Bytes of files sent.", "area"),
		scripts:   vec("scripts_total", "iPXE scripts handed out.", "kind"),
		copied: f.NewCounter(prometheus.CounterOpts{Name: "muster_httpboot_copied_bytes_total",
			Help: "Bytes of files that went through user space instead of sendfile."}),
		polls: f.NewGauge(prometheus.GaugeOpts{Name: "muster_httpboot_waiting_agents", Help: "Agents in a long poll."}),
		nodes: f.NewGauge(prometheus.GaugeOpts{Name: "muster_httpboot_running_agents", Help: "Agents of running nodes in a long poll."}),
	}
}

func (m *metrics) request(endpoint string, status int) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(status)).Inc()
}

func (m *metrics) reject(endpoint, reason string) {
	m.rejected.WithLabelValues(endpoint, reason).Inc()
}

func (m *metrics) script(kind string) { m.scripts.WithLabelValues(kind).Inc() }

func (m *metrics) waiting(n float64) { m.polls.Add(n) }

func (m *metrics) sent(f Fetch, copied int64) {
	result := "partial"
	if f.Complete {
		result = "complete"
	}
	m.transfers.WithLabelValues(f.Area, result).Inc()
	m.bytes.WithLabelValues(f.Area).Add(float64(f.Bytes))
	m.copied.Add(float64(copied))
}
