package api

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"muster/roles"
)

// run serves s on socket until stop is called.
func run(t *testing.T, s *Server, socket string) (stop func()) {
	t.Helper()
	socks, err := s.Listen(socket, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, socks) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestFollowOverARestart: a patient client sees every event once, also those from while the server was away.
func TestFollowOverARestart(t *testing.T) {
	reg := declared(t)
	socket := filepath.Join(t.TempDir(), "s")
	stop := run(t, &Server{Rack: reg}, socket)
	see(t, reg, macA)

	c := Dial(socket)
	c.Patience = time.Minute
	defer c.Close()
	events := make(chan roles.Event)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, EventQuery{}, func(e roles.Event) error { events <- e; return nil })
	}()
	all, err := reg.Events(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := []roles.Event{<-events}
	for len(got) < len(all) {
		got = append(got, <-events)
	}
	stop()
	see(t, reg, macB)
	stop = run(t, &Server{Rack: reg}, socket)
	defer stop()
	if all, err = reg.Events(0, 0); err != nil {
		t.Fatal(err)
	}
	for len(got) < len(all) {
		got = append(got, <-events)
	}
	if !slices.Equal(seqs(got), seqs(all)) {
		t.Errorf("followed %v, the log has %v", seqs(got), seqs(all))
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: %v", err)
	}
}

// TestFollowBootOverARestart: the same for a boot.
func TestFollowBootOverARestart(t *testing.T) {
	reg := declared(t)
	socket := filepath.Join(t.TempDir(), "s")
	stop := run(t, &Server{Rack: reg}, socket)
	see(t, reg, macA)

	c := Dial(socket)
	c.Patience = time.Minute
	defer c.Close()
	fresh := make(chan []roles.Event, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := c.FollowBoot(t.Context(), macA.String(), 0, func(_ roles.Boot, e []roles.Event) { fresh <- e })
		ended <- err
	}()
	got := <-fresh
	stop()
	tk, err := reg.Script(t.Context(), macA, roles.Facts{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	err = reg.Report(t.Context(), macA, tk.Boot.Token, []roles.Reported{{Seq: 1, Step: roles.StepFail, Error: "no root"}})
	if err != nil {
		t.Fatal(err)
	}
	stop = run(t, &Server{Rack: reg}, socket)
	defer stop()
	if err := <-ended; err != nil {
		t.Errorf("FollowBoot: %v", err)
	}
	for len(fresh) > 0 {
		got = append(got, <-fresh...)
	}
	b, err := reg.Boot(macA.String(), 0)
	if err != nil || !slices.Equal(seqs(got), seqs(b.Events)) {
		t.Errorf("followed %v, the boot has %v (%v)", seqs(got), seqs(b.Events), err)
	}
}

// TestImpatientClient: without patience, or when it ends, the server is unreachable.
func TestImpatientClient(t *testing.T) {
	c := Dial(filepath.Join(t.TempDir(), "none"))
	c.Patience = time.Minute
	// A server that never answered is not waited for.
	err := c.Follow(t.Context(), EventQuery{}, func(roles.Event) error { return nil })
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if c.retry(t.Context(), ErrUnreachable, time.Now().Add(-time.Hour)) {
		t.Error("an hour is within a patience of a minute")
	}
	c.Patience = 0
	if c.retry(t.Context(), ErrUnreachable, time.Now()) {
		t.Error("no patience at all, and tries again")
	}
}
