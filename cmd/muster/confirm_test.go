package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestConfirm(t *testing.T) {
	for typed, want := range map[string]string{
		"web-01\n": "", " web-01 ": "", "y\n": `"y" is not web-01: nothing was changed`,
		"": "web-01 was not typed: nothing was changed (--yes does not ask)", "\n": "web-01 was not typed: nothing was changed (--yes does not ask)",
	} {
		p, _, errs := newProgram()
		p.stdin = strings.NewReader(typed)
		got := ""
		if err := p.confirm(t.Context(), false, "web-01", "all is lost"); err != nil {
			got = err.Error()
		}
		if got != want || !strings.HasPrefix(errs.String(), "all is lost\nType web-01 to go on: ") {
			t.Errorf("typed %q: %q, asked %q", typed, got, errs)
		}
	}
	p, _, errs := newProgram()
	if err := p.confirm(t.Context(), true, "web-01", "all is lost"); err != nil || errs.Len() > 0 {
		t.Errorf("yes: %v, %q", err, errs)
	}
}

// TestConfirmInterrupted: Ctrl-C ends the question, though nothing was typed.
func TestConfirmInterrupted(t *testing.T) {
	p, _, _ := newProgram()
	r, w := io.Pipe()
	defer w.Close()
	p.stdin = r
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.confirm(ctx, false, "web-01"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
