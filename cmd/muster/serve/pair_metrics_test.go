package serve

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"muster/cmd/muster/doctor"
	"muster/roles"
)

// degraded is a pair of which one half syncs, and whose other half's power cannot be cut.
func degraded() roles.PairView {
	return roles.PairView{
		Pair: roles.Pair{Pool: "storage", Backup: roles.PairBackup{At: time.Now().Add(-time.Hour), Size: 700},
			BackupFailed: roles.PairBackup{At: time.Now(), Why: "no memory"}}, State: roles.PairDegraded, Why: "storage-02 is syncing, 43 %", Serving: true,
		Alerts: []string{"one leg", "no fencing"},
		Halves: []roles.HalfView{
			{Half: roles.Half{Active: true, DiskState: "UpToDate", Capacity: 1000, Used: 100}, Slot: "storage-01", Heard: time.Now(),
				Fencing: "the BMC of storage-01 does not answer", FencingAt: time.Now()},
			{Half: roles.Half{DiskState: "Inconsistent", Synced: 43}, Slot: "storage-02", Heard: time.Now(), FencingAt: time.Now()},
		},
	}
}

// gathered are the values of a registry's gauges, as "name{label values}".
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[fmt.Sprintf("%s%v", strings.TrimPrefix(f.GetName(), "muster_serve_pair_"), labels)] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestPairMetrics(t *testing.T) {
	var views []roles.PairView
	m := newPairMetrics(nil, func() ([]roles.PairView, error) { return views, nil }, func() bool { return true })
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	if got := gathered(t, reg); len(got) != 0 {
		t.Errorf("without a pair there is %v", got)
	}
	views = []roles.PairView{degraded(), {Pair: roles.Pair{Pool: "other"}, State: roles.PairNew, Halves: []roles.HalfView{{Slot: "other-01"}}}}
	got := gathered(t, reg)
	for _, slot := range []string{"storage-01", "storage-02"} {
		if v, ok := got["heard_seconds[storage "+slot+"]"]; !ok || v < 0 || v > 600 {
			t.Errorf("%s was heard %v s ago, %v", slot, v, ok)
		}
		delete(got, "heard_seconds[storage "+slot+"]")
	}
	if v := got["backup_age_seconds[storage]"]; v < 3600 || v > 4200 {
		t.Errorf("the backup is %v s old", v)
	}
	delete(got, "backup_age_seconds[storage]")
	want := map[string]float64{
		"backup_bytes[storage]":            700,
		"backup_failed[storage]":           1,
		"backup_failed[other]":             0,
		"qnetd_up[]":                       1,
		"serving[other]":                   0,
		"serving[storage]":                 1,
		"alerts[other]":                    0,
		"alerts[storage]":                  2,
		"capacity_bytes[storage]":          1000,
		"used_bytes[storage]":              100,
		"fencing_ok[storage storage-01]":   0,
		"fencing_ok[storage storage-02]":   1,
		"synced_ratio[storage storage-01]": 1,
		"synced_ratio[storage storage-02]": 0.43,
	}
	for _, pool := range []string{"other", "storage"} {
		for _, state := range []string{"new", "whole", "degraded", "down", "split"} {
			want["state["+pool+" "+state+"]"] = 0
		}
	}
	want["state[other new]"], want["state[storage degraded]"] = 1, 1
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-want +got):\n%s", d)
	}
}

func TestPairFindings(t *testing.T) {
	v := degraded()
	if f := pairFinding(v); f.Status != string(doctor.Warn) || !strings.Contains(f.Detail, "43 %") || f.Fix == "" {
		t.Errorf("%+v", f)
	}
	if f := fencingFinding(v); f.Status != string(doctor.Fail) || !strings.Contains(f.Detail, "BMC of storage-01") {
		t.Errorf("%+v", f)
	}
	v.State, v.Why, v.Halves[0].Fencing = roles.PairWhole, "", ""
	if f := pairFinding(v); f.Status != string(doctor.OK) || f.Fix != "" {
		t.Errorf("%+v", f)
	}
	if f := fencingFinding(v); f.Status != string(doctor.OK) {
		t.Errorf("%+v", f)
	}
	v.Halves[1].FencingAt = time.Time{}
	if f := fencingFinding(v); f.Status != string(doctor.Warn) || !strings.Contains(f.Detail, "storage-02") {
		t.Errorf("%+v", f)
	}
	if f := voteFinding(nil, true); f.Status != string(doctor.OK) {
		t.Errorf("%+v", f)
	}
	if f := voteFinding(nil, false); f.Status != string(doctor.Fail) || f.Fix == "" {
		t.Errorf("%+v", f)
	}
}
