package tftpd

import (
	"errors"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Server counts. A nil *metrics counts nothing.
type metrics struct {
	active          prometheus.Gauge
	transfers       *prometheus.CounterVec
	dropped         *prometheus.CounterVec
	bytes           prometheus.Counter
	retransmissions prometheus.Counter
	seconds         prometheus.Histogram
	windowed        *prometheus.CounterVec
	waiting         prometheus.Gauge
}

// newMetrics registers the metrics; without a registerer they are nil. It returns the registry's error when
// a name is taken.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	if reg == nil {
		return nil, nil
	}
	m := &metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "muster_tftpd_transfers_active", Help: "Transfers under way."}),
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_tftpd_transfers_total", Help: "Requests that were answered, by how they ended."},
			[]string{"result"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_tftpd_dropped_total", Help: "Packets to the listening port that got no answer, by reason."},
			[]string{"reason"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_tftpd_sent_bytes_total", Help: "Bytes of files that clients acknowledged."}),
		retransmissions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_tftpd_retransmissions_total", Help: "Packets that were sent more than once."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_tftpd_transfer_seconds", Help: "Duration of the transfers that succeeded.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2, 5, 10, 30, 60, 300}}),
		windowed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_tftpd_windowed_total", Help: "Transfers, by whether a window above 1 was agreed on."},
			[]string{"windowed"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "muster_tftpd_requests_waiting", Help: "Requests that wait for one of the places for transfers."}),
	}
	for _, c := range []prometheus.Collector{m.active, m.transfers, m.dropped, m.bytes, m.retransmissions,
		m.seconds, m.windowed, m.waiting} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) begin() {
	if m != nil {
		m.active.Inc()
	}
}

// queued takes note of how many requests wait.
func (m *metrics) queued(a *sessions) {
	if m != nil {
		m.waiting.Set(float64(a.queued()))
	}
}

// end counts a transfer that begin counted.
func (m *metrics) end(t Transfer) {
	if m == nil {
		return
	}
	m.active.Dec()
	m.transfers.WithLabelValues(result(t.Err)).Inc()
	m.bytes.Add(float64(t.Bytes))
	m.retransmissions.Add(float64(t.Retransmissions))
	if t.Err == nil {
		m.seconds.Observe(t.Duration.Seconds())
	}
	switch {
	case t.Windowsize > 1:
		m.windowed.WithLabelValues("yes").Inc()
	case t.Windowsize == 1:
		m.windowed.WithLabelValues("no").Inc()
	}
}

func (m *metrics) drop(reason string) {
	if m != nil {
		m.dropped.WithLabelValues(reason).Inc()
	}
}

// result is err in one word.
func result(err error) string {
	for _, k := range []struct {
		err  error
		word string
	}{
		{nil, "ok"},
		{ErrAborted, "aborted"},
		{ErrGone, "gone"},
		{ErrTimeout, "timeout"},
		{ErrSuperseded, "superseded"},
		{errStopping, "stopped"},
		{errHalfOpen, "half_open"},
		{fs.ErrNotExist, "not_found"},
		{fs.ErrPermission, "denied"},
		{fs.ErrInvalid, "invalid"},
	} {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	return "error"
}
