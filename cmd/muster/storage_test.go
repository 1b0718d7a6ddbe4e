package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/roles"
)

// TestWatchPairs: a change is shown when it comes, one line each, until Ctrl-C; what changes all the time is none.
func TestWatchPairs(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	defer w.close()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	show := func(text string) {
		t.Helper()
		if err := w.pair(text); err != nil {
			t.Fatal(err)
		}
		// Something happens in the rack: who waits for a later revision is answered.
		if err := w.boot("52:54:00:aa:00:01", true); err != nil {
			t.Fatal(err)
		}
	}
	show(`{"pool": "storage", "state": "new", "halves": [{"slot": "storage-01", "heard": "2026-03-01T08:00:00Z"}]}`)
	p, _, errs := newProgram()
	r, out := io.Pipe()
	p.stdout = out
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- p.run(ctx, []string{"--socket", w.socket, "storage", "status", "storage", "--watch", "-o", "json"})
		_ = out.Close()
	}()
	lines := bufio.NewScanner(r)
	next := func(state string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), `"state":"`+state+`"`) {
			t.Fatalf("got %q, want state %s", lines.Text(), state)
		}
	}
	next("new")
	show(`{"pool": "storage", "state": "new", "halves": [{"slot": "storage-01", "heard": "2026-03-01T08:00:02Z"}]}`)
	show(`{"pool": "storage", "state": "whole", "halves": [{"slot": "storage-01", "heard": "2026-03-01T08:00:04Z"}]}`)
	next("whole")
	cancel()
	if c := <-code; c != exitInterrupted {
		t.Errorf("exit code %d, %s", c, errs)
	}
}

// TestWatchOfNoPair ends at once.
func TestWatchOfNoPair(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	defer w.close()
	err := w.serve()
	if err == nil {
		err = w.pair(`{"pool": "storage", "state": "new", "halves": []}`)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, _, errs := newProgram()
	if c := p.run(t.Context(), []string{"--socket", w.socket, "storage", "status", "web", "-w"}); c != exitNotFound || errs.String() != "muster: roles: web is no storage pair\n" {
		t.Errorf("exit code %d, %q", c, errs)
	}
}

func TestPrintChange(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	all := []roles.PairView{{Pair: roles.Pair{Pool: "storage"}, State: roles.PairNew}}
	for format, want := range map[string]string{
		"table": "\n2026-03-01 08:00:00\n\npair     storage is new\naddress  , not served\n",
		"yaml":  "---\n- pool: storage\n",
		"json":  `[{"pool":"storage",`,
	} {
		var b bytes.Buffer
		if err := printChange(&b, format, all, now, false); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("%s: %v, %q", format, err, b.String())
		}
	}
	var b bytes.Buffer
	if err := redraw(&b, all, now); err != nil || !strings.HasPrefix(b.String(), "\x1b[H2026-03-01 08:00:00, until Ctrl-C\x1b[K\n") || !strings.HasSuffix(b.String(), "\x1b[K\n\x1b[J") {
		t.Errorf("redraw: %v, %q", err, b.String())
	}
}

func TestSyncText(t *testing.T) {
	for _, tt := range []struct {
		h    roles.Half
		want string
	}{
		{roles.Half{Connection: "Connected"}, ""},
		{roles.Half{Connection: "SyncSource", Synced: 50, Left: 60}, ""},
		{roles.Half{Connection: "SyncTarget", Left: 60}, "storage-02 [--------------------] 0.0 %, 1m00s left"},
		{roles.Half{Connection: "SyncTarget", Synced: 99.97}, "storage-02 [###################-] 100.0 %"},
		{roles.Half{Connection: "SyncTarget", Synced: 140}, "storage-02 [####################] 140.0 %"},
	} {
		if got := syncText(roles.HalfView{Slot: "storage-02", Half: tt.h}); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.h, got, tt.want)
		}
	}
}

// TestLoneAdvice: nobody is told to lose data while there is nothing to do but wait.
func TestLoneAdvice(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	up := roles.Half{Phase: roles.PhaseCluster, DiskState: "Consistent", Quorate: true}
	part := roles.Half{Phase: roles.PhaseReady, DiskState: "Inconsistent"}
	alone := up
	alone.Quorate = false
	outdated := func(slot, by string) roles.Pair {
		return roles.Pair{Outdated: slot, OutdatedBy: by, OutdatedFrom: now.Add(-time.Hour)}
	}
	const promote = "    muster storage promote storage-02"
	for _, tt := range []struct {
		name   string
		pair   roles.Pair
		h      roles.Half
		peer   roles.HalfView
		says   []string
		silent []string
	}{
		{"waits", roles.Pair{}, up, roles.HalfView{}, []string{"cannot know", promote, "is lost then: whatever it wrote"}, []string{"--peer-is-off", "quorum"}},
		{"in a failover", roles.Pair{}, up, roles.HalfView{Heard: now.Add(-12 * time.Second)}, []string{"about to take over"}, []string{promote}},
		{"peer boots", roles.Pair{}, up, roles.HalfView{State: roles.StateBooting}, []string{"which is booting"}, []string{promote}},
		{"no fencing", roles.Pair{}, up, roles.HalfView{Heard: now.Add(-12 * time.Second), Fencing: "no answer"}, []string{promote + " --peer-is-off", "pull its plug"}, nil},
		{"half a copy", roles.Pair{}, part, roles.HalfView{}, []string{"not a whole copy"}, []string{promote}},
		{"decided", roles.Pair{Promoted: "storage-02", PromotedAt: now}, up, roles.HalfView{}, []string{"as an operator decided"}, []string{promote}},
		{"older", outdated("storage-02", "storage-01"), up, roles.HalfView{}, []string{"which has newer data", "everything is lost that storage-01 wrote after 2026-03-01 07:00:00", promote}, []string{"cannot know"}},
		{"newest", outdated("storage-01", "storage-02"), up, roles.HalfView{}, []string{"nothing is lost"}, nil},
		{"no quorum", roles.Pair{}, alone, roles.HalfView{}, []string{"It has no quorum", promote}, nil},
	} {
		v := roles.PairView{Pair: tt.pair, State: roles.PairDown}
		v.Pool, v.Made = "storage", now.Add(-24*time.Hour)
		tt.peer.Slot = "storage-01"
		v.Halves = []roles.HalfView{tt.peer, {Slot: "storage-02", Half: tt.h, Heard: now}}
		if !tt.peer.Heard.IsZero() {
			v.Halves[0].Heard = tt.peer.Heard
		}
		text := strings.Join(advice(v, now), "\n")
		for _, s := range tt.says {
			if !strings.Contains(text, s) {
				t.Errorf("%s: %q is missing in:\n%s", tt.name, s, text)
			}
		}
		for _, s := range tt.silent {
			if strings.Contains(text, s) {
				t.Errorf("%s: %q should not be in:\n%s", tt.name, s, text)
			}
		}
		v.State = roles.PairWhole
		if a := advice(v, now); a != nil {
			t.Errorf("%s, whole: %q", tt.name, a)
		}
	}
}

// TestClaimAdvice: the command that is shown is one disk's, whatever that calls itself.
func TestClaimAdvice(t *testing.T) {
	for serial, want := range map[string]string{
		"WD-WX31A": "WD-WX31A", "/dev/vdb": "/dev/vdb", "SN 1 2": "'SN 1 2'", "x; reboot": "'x; reboot'", "$(a)'b": `'$(a)'\''b'`,
	} {
		now := time.Now()
		h := roles.Half{Phase: roles.PhaseRefused, Carries: "a file system", Serial: serial}
		text := strings.Join(advice(roles.PairView{Halves: []roles.HalfView{{Slot: "storage-02", Half: h, Heard: now}}}, now), "\n")
		if command := "muster storage claim storage-02 --disk " + want + " --erase"; !strings.HasSuffix(text, command) {
			t.Errorf("want %s in:\n%s", command, text)
		}
	}
}

func TestUnfit(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	fit := roles.HalfView{Slot: "storage-02", Heard: now, Half: roles.Half{Phase: roles.PhaseCluster, DiskState: "UpToDate"}}
	late, ready, stale := fit, fit, fit
	late.Heard, ready.Phase, stale.DiskState = now.Add(-time.Minute), roles.PhaseReady, "Inconsistent"
	v := roles.PairView{}
	got := []string{unfit(v, fit, now), unfit(v, late, now), unfit(v, ready, now), unfit(v, stale, now)}
	v.Standby = []string{"storage-02"}
	got = append(got, unfit(v, fit, now))
	want := []string{"", "it is silent", "it is not in the cluster", "its data are Inconsistent", "it is in maintenance"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRemarks(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	v := roles.PairView{Pair: roles.Pair{Fenced: map[string]time.Time{"storage-02": now.Add(-20 * time.Second)}}}
	got := remarks(v, roles.HalfView{Slot: "storage-02", Half: roles.Half{Why: "no disk", Errors: []string{"x"}}}, now)
	want := []string{"no disk", "switched off by the other half 20s ago; it is switched on again when that one serves", "x"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
