package nfs

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts the life of a server that we run. Of the kernel's, mountd's failures count as well. A nil *Metrics counts nothing.
type Metrics struct {
	starts, failures prometheus.Counter
}

// NewMetrics registers the metrics; nil makes them count for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		starts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_nfs_starts_total", Help: "Starts of the NFS server.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_nfs_failures_total", Help: "Times that the NFS server, or a part of it, ended by itself.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.starts, m.failures)
	}
	return m
}

func (m *Metrics) start() {
	if m != nil {
		m.starts.Inc()
	}
}

func (m *Metrics) failure() {
	if m != nil {
		m.failures.Inc()
	}
}
