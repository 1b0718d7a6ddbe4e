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

// TestNoteBackup: what became of a backup stays with its pair, through what else is kept of it, and in the store.
func TestNoteBackup(t *testing.T) {
	p := wholePair(t)
	note := func(b roles.PairBackup) {
		t.Helper()
		b.At, b.From = p.now, "storage-02"
		if err := p.NoteBackup(t.Context(), "storage", b, "held back for 5 ms"); err != nil {
			t.Fatal(err)
		}
	}
	if v := p.pair(); !v.Backup.At.IsZero() || !v.BackupFailed.At.IsZero() {
		t.Errorf("before any: %+v", v.Pair)
	}
	first := p.now
	note(roles.PairBackup{Size: 3 << 20, Took: roles.Duration(1500 * time.Millisecond), To: "vault:/b.tar.zst"})
	p.wantTold("backup of storage to vault:/b.tar.zst: 3.0 MiB in 1.5s; held back for 5 ms")
	p.alive(time.Minute)
	note(roles.PairBackup{Size: 7, Why: strings.Repeat("no memory ", 100)})
	p.wantTold("backup of storage failed: no memory")
	p.says(st1, p.alone("DATA-1", "m1")) // the pair keeps something else
	v := p.pair()
	if !v.Backup.At.Equal(first) || v.Backup.Size != 3<<20 || v.Backup.To != "vault:/b.tar.zst" || v.Backup.From != "storage-02" {
		t.Errorf("the whole one: %+v", v.Backup)
	}
	if v.BackupFailed.At.IsZero() || len(v.BackupFailed.Why) > 510 {
		t.Errorf("the failed one: %+v", v.BackupFailed)
	}
	note(roles.PairBackup{Size: 8})
	if v := p.pair(); v.Backup.Size != 8 || !v.BackupFailed.At.IsZero() {
		t.Errorf("after the next: %+v, %+v", v.Backup, v.BackupFailed)
	}
	// Who takes the pool away meanwhile has no pair that remembers.
	if err := p.NoteBackup(t.Context(), "web", roles.PairBackup{From: "storage-02"}, ""); err != nil {
		t.Error(err)
	}
	if err := p.Store.View(func(tx roles.Tx) error {
		if _, ok := tx.Pairs().Get("web"); ok {
			t.Error("a pool that is no pair has one")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestBackupAge: an alert when the latest whole backup is older than somebody wants, and none where nobody wants one.
func TestBackupAge(t *testing.T) {
	p := wholePair(t)
	alert := func() string {
		p.run()
		return strings.Join(p.pair().Alerts, "\n")
	}
	p.now = p.now.Add(1000 * time.Hour)
	if got := alert(); got != "" {
		t.Errorf("nobody wants backups: %q", got)
	}
	d := p.parse(strings.Replace(pairYAML, "pair: {", "pair: {backupAge: 26h, ", 1))
	if _, err := p.Apply(t.Context(), d, roles.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := alert(); got != "there is no backup, and the pair was made 41 days ago; it should be no older than 26 hours (muster storage backup storage)" {
		t.Errorf("none: %q", got)
	}
	note := func(why string) {
		t.Helper()
		if err := p.NoteBackup(t.Context(), "storage", roles.PairBackup{At: p.now, From: "storage-02", Why: why}, ""); err != nil {
			t.Fatal(err)
		}
	}
	note("")
	p.now = p.now.Add(26 * time.Hour)
	if got := alert(); got != "" {
		t.Errorf("26h old: %q", got)
	}
	note("no memory")
	p.now = p.now.Add(time.Hour)
	if got := alert(); got != "the latest backup is 27 hours old; it should be no older than 26 hours. One failed 60 minutes ago: no memory (muster storage backup storage)" {
		t.Errorf("old: %q", got)
	}
}
