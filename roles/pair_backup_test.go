package roles_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"muster/roles"
)

// TestBackupHalf: a backup comes from the half that does not serve, while both have all data.
func TestBackupHalf(t *testing.T) {
	now := time.Now()
	whole := func() roles.PairView {
		v := roles.PairView{Pair: roles.Pair{Pool: "storage", Made: now}, State: roles.PairWhole, Serving: true}
		for _, slot := range []string{"storage-01", "storage-02"} {
			v.Halves = append(v.Halves, roles.HalfView{Slot: slot, Heard: now, Half: roles.Half{Connection: "Connected", DiskState: "UpToDate"}})
		}
		v.Halves[1].Active = true
		return v
	}
	if h, err := whole().BackupHalf(); err != nil || h.Slot != "storage-01" {
		t.Errorf("of a whole pair: %s, %v", h.Slot, err)
	}
	if h, err := whole().RestoreHalf(); err != nil || h.Slot != "storage-02" {
		t.Errorf("into a whole pair: %s, %v", h.Slot, err)
	}
	for _, tt := range []struct {
		name            string
		change          func(*roles.PairView)
		backup, restore string // "" for no fault
	}{
		{"new", func(v *roles.PairView) {
			v.Made, v.State, v.Serving, v.Halves[1].Active = time.Time{}, roles.PairNew, false, false
		}, "is new", "does not serve"},
		{"down", func(v *roles.PairView) { v.State, v.Serving, v.Why = roles.PairDown, false, "both are off" }, "both are off", "does not serve (both are off)"},
		{"one leg", func(v *roles.PairView) { v.State, v.Why = roles.PairDegraded, "storage-01 boots" }, "storage-01 boots", ""},
		{"split", func(v *roles.PairView) { v.State = roles.PairSplit }, "is split", ""},
		{"verifies", func(v *roles.PairView) { v.Halves[0].Connection = "VerifyT" }, "VerifyT", ""},
		{"frozen", func(v *roles.PairView) { v.Halves[1].Frozen = true }, "", "off or back"},
		{"taken over", func(v *roles.PairView) { v.Halves[0].Active = true }, "does not serve", ""},
	} {
		v := whole()
		tt.change(&v)
		_, backup := v.BackupHalf()
		_, restore := v.RestoreHalf()
		for what, got := range map[string]struct {
			err  error
			want string
		}{"backup": {backup, tt.backup}, "restore": {restore, tt.restore}} {
			if got.want == "" && got.err != nil || got.want != "" && (!errors.Is(got.err, fs.ErrInvalid) || !strings.Contains(got.err.Error(), got.want)) {
				t.Errorf("%s: %s: %v, want %q", tt.name, what, got.err, got.want)
			}
		}
	}
}

func TestLost(t *testing.T) {
	now := time.Now()
	mac := roles.MAC{1}
	v := roles.PairView{Halves: []roles.HalfView{{Slot: "storage-01", Node: mac, Heard: now.Add(-9 * time.Second)}, {Slot: "storage-02", Node: mac, Heard: now.Add(-11 * time.Second)}}}
	for _, tt := range []struct {
		slot string
		node roles.MAC
		want string
	}{
		{"storage-01", mac, ""},
		{"storage-01", roles.MAC{2}, "another machine"},
		{"storage-02", mac, "has died"},
		{"storage-03", mac, "no half"},
	} {
		if got := v.Lost(tt.slot, tt.node, now); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %v: %q, want %q", tt.slot, tt.node, got, tt.want)
		}
	}
}
