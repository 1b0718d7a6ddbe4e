package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests by route. Nil counts nothing.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// newMetrics registers on r; nil gives nil.
func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_api_requests_total",
			Help: "Requests answered, by method, route and HTTP status.",
		}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_api_request_seconds",
			Help: "Time from a request's header to the end of its answer; waiting and streaming included.",
			// From a read of a small rack to a held request (25 s).
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10, 30},
		}, []string{"method", "route"}),
	}
	r.MustRegister(m.requests, m.seconds)
	return m
}

func (m *metrics) answered(rt route, status int, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(rt.method, rt.path, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(rt.method, rt.path).Observe(took.Seconds())
}
