package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/roles"
)

func seqs(events []roles.Event) (out []uint64) {
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func TestEventSelections(t *testing.T) {
	reg := declared(t)
	for i := range 6 {
		see(t, reg, roles.MAC{2, 0, 0, 0, 0, byte(i)})
	}
	all, err := reg.Events(0, 0)
	if err != nil || len(all) < 6 {
		t.Fatal(all, err)
	}
	c := client(t, &Server{Rack: reg})
	for _, tt := range []struct {
		q    EventQuery
		want []roles.Event
	}{
		{EventQuery{}, all},
		{EventQuery{After: all[1].Seq}, all[2:]},
		{EventQuery{Limit: 2}, all[:2]},
		{EventQuery{Last: 2}, all[len(all)-2:]},
		{EventQuery{Last: 1000}, all},
		{EventQuery{After: all[len(all)-2].Seq, Last: 3}, all[len(all)-1:]},
		{EventQuery{After: all[len(all)-1].Seq}, nil},
	} {
		got, err := c.Events(t.Context(), tt.q)
		if err != nil || !slices.Equal(seqs(got), seqs(tt.want)) {
			t.Errorf("%+v: %v, %v; want %v", tt.q, seqs(got), err, seqs(tt.want))
		}
	}
}

// TestFollow gets old events and then new ones, each once and in order.
func TestFollow(t *testing.T) {
	reg := declared(t)
	see(t, reg, macA)
	c := client(t, &Server{Rack: reg})
	enough := errors.New("enough")
	var got []roles.Event
	err := c.Follow(t.Context(), EventQuery{}, func(e roles.Event) error {
		got = append(got, e)
		switch e.Node {
		case macA:
			// The stream is open: what happens now comes through it.
			see(t, reg, macB)
			return nil
		case macB:
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	all, err := reg.Events(0, len(got))
	if err != nil || !slices.Equal(seqs(got), seqs(all)) {
		t.Errorf("followed %v, the log has %v (%v)", seqs(got), seqs(all), err)
	}
}

// TestHeartbeat: an idle stream writes an empty line at its start and every heartbeat.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Rack: newRegistry(t)}
		ctx, cancel := context.WithTimeout(t.Context(), 3*heartbeat+time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/events?follow=1", nil))
		if got := w.Body.String(); got != strings.Repeat("\n", 4) {
			t.Errorf("got %q", got)
		}
	})
}
