package serve

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/roles"
)

// pairMetrics tells of the storage pairs as they are when somebody asks; without one there is nothing to tell.
type pairMetrics struct {
	pairs  func() ([]roles.PairView, error)
	voteUp func() bool

	failovers *prometheus.CounterVec
	voteEnded prometheus.Counter
}

var (
	pairStateDesc    = prometheus.NewDesc("muster_serve_pair_state", "1 for the state that a storage pair is in.", []string{"pool", "state"}, nil)
	pairServingDesc  = prometheus.NewDesc("muster_serve_pair_serving", "Whether nodes can mount from a storage pair.", []string{"pool"}, nil)
	pairAlertsDesc   = prometheus.NewDesc("muster_serve_pair_alerts", "What somebody has to do something about: muster storage status says what.", []string{"pool"}, nil)
	pairCapacityDesc = prometheus.NewDesc("muster_serve_pair_capacity_bytes", "Size of a storage pair's volume.", []string{"pool"}, nil)
	pairUsedDesc     = prometheus.NewDesc("muster_serve_pair_used_bytes", "What is used of a storage pair's volume.", []string{"pool"}, nil)
	pairSyncedDesc   = prometheus.NewDesc("muster_serve_pair_synced_ratio", "How much of a half's data is the pair's newest, from 0 to 1.", []string{"pool", "slot"}, nil)
	pairFencingDesc  = prometheus.NewDesc("muster_serve_pair_fencing_ok", "Whether a half's power could be cut when that was tried last; without it there is no failover.", []string{"pool", "slot"}, nil)
	pairHeardDesc    = prometheus.NewDesc("muster_serve_pair_heard_seconds", "Time since a half spoke.", []string{"pool", "slot"}, nil)
	pairBackupDesc   = prometheus.NewDesc("muster_serve_pair_backup_age_seconds", "Time since the latest backup of a storage pair that was whole began; none without one.", []string{"pool"}, nil)
	pairArchiveDesc  = prometheus.NewDesc("muster_serve_pair_backup_bytes", "Size of the latest backup of a storage pair that was whole.", []string{"pool"}, nil)
	pairUnsavedDesc  = prometheus.NewDesc("muster_serve_pair_backup_failed", "Whether a backup of a storage pair has failed since the latest one that was whole.", []string{"pool"}, nil)
	pairVoteDesc     = prometheus.NewDesc("muster_serve_pair_qnetd_up", "Whether corosync-qnetd, the third vote, runs here.", nil, nil)
)

// newPairMetrics registers with reg; nil means that nobody asks.
func newPairMetrics(reg prometheus.Registerer, pairs func() ([]roles.PairView, error), voteUp func() bool) *pairMetrics {
	m := &pairMetrics{pairs: pairs, voteUp: voteUp,
		failovers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_serve_pair_failovers_total",
			Help: "How often another half became the active one since this server started."}, []string{"pool"}),
		voteEnded: prometheus.NewCounter(prometheus.CounterOpts{Name: "muster_serve_pair_qnetd_failures_total",
			Help: "How often corosync-qnetd ended by itself, or could not start."}),
	}
	if reg != nil {
		reg.MustRegister(m, m.failovers, m.voteEnded)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *pairMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{pairStateDesc, pairServingDesc, pairAlertsDesc, pairCapacityDesc, pairUsedDesc,
		pairSyncedDesc, pairFencingDesc, pairHeardDesc, pairBackupDesc, pairArchiveDesc, pairUnsavedDesc, pairVoteDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *pairMetrics) Collect(ch chan<- prometheus.Metric) {
	all, err := m.pairs()
	if err != nil || len(all) == 0 {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(pairVoteDesc, truth(m.voteUp()))
	for _, v := range all {
		for _, state := range []string{roles.PairNew, roles.PairWhole, roles.PairDegraded, roles.PairDown, roles.PairSplit} {
			gauge(pairStateDesc, truth(v.State == state), v.Pool, state)
		}
		gauge(pairServingDesc, truth(v.Serving), v.Pool)
		gauge(pairAlertsDesc, float64(len(v.Alerts)), v.Pool)
		if h, ok := activeHalf(v); ok && h.Capacity > 0 {
			gauge(pairCapacityDesc, float64(h.Capacity), v.Pool)
			gauge(pairUsedDesc, float64(h.Used), v.Pool)
		}
		if !v.Backup.At.IsZero() {
			gauge(pairBackupDesc, time.Since(v.Backup.At).Seconds(), v.Pool)
			gauge(pairArchiveDesc, float64(v.Backup.Size), v.Pool)
		}
		gauge(pairUnsavedDesc, truth(!v.BackupFailed.At.IsZero()), v.Pool)
		for _, h := range v.Halves {
			if !h.Heard.IsZero() {
				gauge(pairHeardDesc, time.Since(h.Heard).Seconds(), v.Pool, h.Slot)
				gauge(pairSyncedDesc, synced(h.Half), v.Pool, h.Slot)
			}
			if !h.FencingAt.IsZero() {
				gauge(pairFencingDesc, truth(h.Fencing == ""), v.Pool, h.Slot)
			}
		}
	}
}

// synced is how much of a half's data is the newest: all of it, or as far as a running resync is.
func synced(h roles.Half) float64 {
	if h.DiskState == "UpToDate" {
		return 1
	}
	return h.Synced / 100
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// failoverPause spares the rack a look at its pairs for every event of a boot storm.
const failoverPause = time.Second

// countFailovers notes when another half becomes the active one. It ends with ctx.
func (s *server) countFailovers(ctx context.Context) error {
	active := map[string]string{}
	for {
		rev := s.registry.Revision()
		all, err := s.registry.Pairs()
		if err != nil { // a counter ends no boot server
			s.log.Error("failovers are not counted", "err", err)
		}
		for _, v := range all {
			if was := active[v.Pool]; was != "" && v.Active != was {
				s.pairMetrics.failovers.WithLabelValues(v.Pool).Inc()
			}
			active[v.Pool] = v.Active
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(failoverPause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.registry.Watch(rev):
		}
	}
}
