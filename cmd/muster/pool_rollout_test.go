package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/images"
	"muster/roles"
)

var rolledOut = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// look is a rollout of web:8 as a client sees it so many seconds after its start. Slots are "web-01 done 12".
func look(state roles.RolloutState, why string, slots ...string) roles.Rollout {
	r := roles.Rollout{
		Pool: "web", From: images.Ref{Name: "web", Version: 7}, Image: images.Ref{Name: "web", Version: 8},
		Canary: 1, Batch: 2, Timeout: roles.Duration(10 * time.Minute), State: state, Why: why, Started: rolledOut,
	}
	for _, s := range slots {
		f := strings.Fields(s)
		d, err := time.ParseDuration(f[2] + "s")
		if err != nil {
			panic(err)
		}
		r.Slots = append(r.Slots, roles.RolloutSlot{Name: f[0], State: f[1], Since: rolledOut.Add(d)})
	}
	return r
}

func TestRolloutLog(t *testing.T) {
	var b bytes.Buffer
	l := rolloutLog{w: &b}
	for _, r := range []roles.Rollout{
		look(roles.RolloutRunning, "", "web-01 pending 0", "web-02 pending 0", "web-03 pending 0"),
		look(roles.RolloutRunning, "waits for web-01", "web-01 restarting 1", "web-02 pending 0", "web-03 pending 0"),
		look(roles.RolloutRunning, "waits for web-01", "web-01 restarting 1", "web-02 pending 0", "web-03 pending 0"),
		look(roles.RolloutRunning, "", "web-01 done 35", "web-02 restarting 35", "web-03 restarting 35.2"),
		look(roles.RolloutRollingBack, "web-02 was not ready\x1b[31m", "web-01 done 35", "web-02 failed 635", "web-03 done 70"),
		look(roles.RolloutRollingBack, "web-02 was not ready\x1b[31m; waits for web-01", "web-01 restarting 636", "web-02 restarting 636", "web-03 done 70"),
		look(roles.RolloutRollingBack, "web-02 was not ready\x1b[31m", "web-01 back 670", "web-02 back 671", "web-03 restarting 671"),
		look(roles.RolloutRolledBack, "web-02 was not ready\x1b[31m", "web-01 back 670", "web-02 back 671", "web-03 back 700"),
	} {
		l.add(r)
	}
	want := `rollout of web:8 to pool web, from web:7: 3 nodes, canary 1, batches of 2, at most 10m00s each
    1.0s  web-01      restarting with web:8
                      waits for web-01
   35.0s  web-01      ready with web:8
   35.0s  web-02      restarting with web:8
   35.2s  web-03      restarting with web:8
  635.0s  web-02      failed with web:8
   70.0s  web-03      ready with web:8
                      web-02 was not ready` + "\uFFFD" + `[31m
  636.0s  web-01      restarting with web:7
  636.0s  web-02      restarting with web:7
                      waits for web-01
  670.0s  web-01      ready with web:7 again
  671.0s  web-02      ready with web:7 again
  671.0s  web-03      restarting with web:7
  700.0s  web-03      ready with web:7 again
`
	got := b.String()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestRolloutText(t *testing.T) {
	ended := func(r roles.Rollout) roles.Rollout { r.Ended = rolledOut.Add(90 * time.Second); return r }
	for _, tt := range []struct {
		r    roles.Rollout
		want string
	}{
		{look(roles.RolloutRunning, "waits for web-02", "web-01 done 9", "web-02 restarting 10"), "web:7 → web:8: running for 2m00s, 1 of 2 nodes done: waits for web-02"},
		{look(roles.RolloutRollingBack, "", "web-01 restarting 9"), "web:7 → web:8: rolling back for 2m00s, 0 of 1 node done"},
		{ended(look(roles.RolloutDone, "", "web-01 done 9")), "web:7 → web:8: done, 1 node runs it after 1m30s, at 2026-03-01 08:01:30"},
		{ended(look(roles.RolloutRolledBack, "no", "web-01 back 9")), "web:7 → web:8: rolled back after 1m30s, at 2026-03-01 08:01:30: no"},
		{ended(look(roles.RolloutFailed, "no way", "web-01 failed 9")), "web:7 → web:8: failed after 1m30s, at 2026-03-01 08:01:30: no way"},
	} {
		if got := rolloutText(tt.r, rolledOut.Add(2*time.Minute)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestRolloutInterrupted: Ctrl-C ends the showing and says so; the rollout goes on.
func TestRolloutInterrupted(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	defer w.close()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	err := w.declare("pools:\n- {name: web, role: web, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}}\n" +
		"nodes:\n- {mac: '52:54:00:aa:00:01', power: {driver: lab}}\n")
	if err == nil {
		err = w.boot("52:54:00:aa:00:01", true)
	}
	if err == nil {
		err = w.healthy()
	}
	if err != nil {
		t.Fatal(err)
	}
	p, _, errs := newProgram()
	r, out := io.Pipe()
	p.stdout = out
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- p.run(ctx, []string{"--socket", w.socket, "pool", "rollout", "web", "--image", "web:8"})
		_ = out.Close()
	}()
	if _, err := r.Read(make([]byte, 256)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the program
	cancel()
	if c := <-code; c != exitInterrupted || errs.String() != "the rollout goes on: muster pool rollout web --status tells about it, --stop takes it back\n" {
		t.Errorf("exit code %d, %q", c, errs)
	}
	if ro, err := w.reg.Rollout("web"); err != nil || ro.State != roles.RolloutRunning {
		t.Errorf("the rollout: %+v, %v", ro, err)
	}
}
