package main

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"muster/roles"
)

// TestEventsFollow: what happens while it runs comes out, one JSON object a line, until Ctrl-C.
func TestEventsFollow(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	defer w.close()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	if err := w.boot("52:54:00:aa:00:01", true); err != nil {
		t.Fatal(err)
	}
	p, _, errs := newProgram()
	r, out := io.Pipe()
	p.stdout = out
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- p.run(ctx, []string{"--socket", w.socket, "events", "--follow", "-o", "json", "--last", "1"})
		_ = out.Close()
	}()

	in := json.NewDecoder(r)
	var e roles.Event
	if err := in.Decode(&e); err != nil || e.Node.String() != "52:54:00:aa:00:01" {
		t.Fatalf("first event: %+v, %v", e, err)
	}
	if err := w.boot("52:54:00:aa:00:02", true); err != nil {
		t.Fatal(err)
	}
	if err := in.Decode(&e); err != nil || e.Node.String() != "52:54:00:aa:00:02" || e.Step != roles.StepDiscover {
		t.Errorf("next event: %+v, %v", e, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends with the command
	interrupt()
	if c := <-code; c != exitInterrupted || errs.Len() > 0 {
		t.Errorf("interrupted: exit code %d, %q; want %d and silence", c, errs, exitInterrupted)
	}
}
