package radv

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	solicitations, advertisements prometheus.Counter
	drops                         *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		solicitations: f.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "radv", Name: "solicitations_total",
			Help: "Router solicitations that came in."}),
		advertisements: f.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "radv", Name: "advertisements_total",
			Help: "Router advertisements that were sent."}),
		drops: f.NewCounterVec(prometheus.CounterOpts{Namespace: "muster", Subsystem: "radv", Name: "drops_total",
			Help: "Router solicitations that got no answer, by reason."}, []string{"reason"}),
	}
}

// drop counts a solicitation without an answer; an err that is no drop is one of sending.
func (m *metrics) drop(err error) {
	reason := dropSend
	errors.As(err, &reason)
	m.drops.WithLabelValues(string(reason)).Inc()
}
