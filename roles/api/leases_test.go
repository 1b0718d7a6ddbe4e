package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"

	"muster/roles"
)

// fixedLeasing remembers what it was asked.
type fixedLeasing struct{ file LeaseFile }

func (f *fixedLeasing) ReleaseLease(_ context.Context, key string) (LeaseView, error) {
	if key != macA.String() {
		return LeaseView{}, fmt.Errorf("%s has no lease: %w", key, fs.ErrNotExist)
	}
	return LeaseView{MAC: macA, State: LeaseActive}, nil
}

func (f *fixedLeasing) ImportLeases(_ context.Context, file LeaseFile) (LeaseReport, error) {
	f.file = file
	return LeaseReport{Format: "kea", Results: map[string]int{LeaseBad: 1}, Lines: []LeaseLine{{Line: 3, Result: LeaseBad, Why: "x"}}}, nil
}

func TestLeaseQuery(t *testing.T) {
	all := []LeaseView{
		{MAC: macA, Address: netip.MustParseAddr("10.77.0.5"), State: LeaseActive},
		{MAC: macB, Address: netip.MustParseAddr("10.78.0.5"), State: LeaseExpired},
		{Address: netip.MustParseAddr("10.77.0.6"), State: LeaseDeclined},
	}
	c := client(t, &Server{Rack: declared(t), Leases: func(context.Context) ([]LeaseView, error) { return append([]LeaseView{}, all...), nil }})
	for _, tt := range []struct {
		q    LeaseQuery
		want []int
	}{
		{LeaseQuery{}, []int{0, 1, 2}},
		{LeaseQuery{Subnet: netip.MustParsePrefix("10.77.0.0/24")}, []int{0, 2}},
		{LeaseQuery{MAC: macB}, []int{1}},
		{LeaseQuery{State: LeaseDeclined}, []int{2}},
		{LeaseQuery{MAC: macA, State: LeaseExpired}, nil},
	} {
		got, err := c.Leases(t.Context(), tt.q)
		if err != nil || got == nil || len(got) != len(tt.want) {
			t.Errorf("%+v: %+v, %v", tt.q, got, err)
			continue
		}
		for i, at := range tt.want {
			if got[i] != all[at] {
				t.Errorf("%+v: lease %d is %+v", tt.q, i, got[i])
			}
		}
	}
	for _, q := range []string{"subnet=10.0.0.1", "mac=x", "state=odd"} {
		if w := do(&Server{Rack: newRegistry(t)}, "GET", "/v1/leases?"+q); w.Code != 400 {
			t.Errorf("%s: status %d", q, w.Code)
		}
	}
}

func TestLeaseChanges(t *testing.T) {
	f := &fixedLeasing{}
	c := client(t, &Server{Rack: declared(t), Leasing: f})
	if v, err := c.ReleaseLease(t.Context(), macA.String()); err != nil || v.MAC != macA || v.State != LeaseActive {
		t.Errorf("release: %+v, %v", v, err)
	}
	if _, err := c.ReleaseLease(t.Context(), "10.0.0.1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("release of none: %v", err)
	}
	// A file may be far larger than any other request.
	text := bytes.Repeat([]byte("a lease\n"), 2<<20/8)
	r, err := c.ImportLeases(t.Context(), LeaseFile{Format: "kea", DryRun: true, All: true, Text: text})
	if err != nil || r.Format != "kea" || r.Results[LeaseBad] != 1 || len(r.Lines) != 1 || r.Lines[0].Line != 3 {
		t.Errorf("import: %+v, %v", r, err)
	}
	if g := f.file; g.Format != "kea" || !g.DryRun || !g.All || !bytes.Equal(g.Text, text) {
		t.Errorf("it was asked for %s, %v, %v, %d bytes", g.Format, g.DryRun, g.All, len(g.Text))
	}
	none := client(t, &Server{Rack: declared(t)})
	if _, err := none.ImportLeases(t.Context(), LeaseFile{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a server without leases: %v", err)
	}
}

// fixedWatch gives its packets, and then none.
type fixedWatch struct {
	packets []TracePacket
	closed  chan struct{}
}

func (w *fixedWatch) Next(ctx context.Context) (TracePacket, error) {
	if len(w.packets) == 0 {
		<-ctx.Done()
		return TracePacket{}, ctx.Err()
	}
	p := w.packets[0]
	w.packets = w.packets[1:]
	return p, nil
}

func (w *fixedWatch) Close() { close(w.closed) }

func TestTrace(t *testing.T) {
	reg := declared(t)
	see(t, reg, macA)
	node, err := reg.Assign(t.Context(), macA.String(), "web", "")
	if err != nil {
		t.Fatal(err)
	}
	want := []TracePacket{
		{Time: start, Interface: "eth1", MAC: macA, In: true, From: netip.MustParseAddrPort("0.0.0.0:68"), Data: []byte{0, 1}, Drop: "no-subnet", Summary: "DISCOVER"},
		{Time: start, Lost: 7},
	}
	var asked []roles.MAC
	w := &fixedWatch{append([]TracePacket{}, want...), make(chan struct{})}
	s := &Server{Rack: reg, Trace: func(macs []roles.MAC) (Watch, error) { asked = macs; return w, nil }}
	c := client(t, s)
	enough := errors.New("enough")
	var got []TracePacket
	ready := false
	err = c.Trace(t.Context(), []string{node.Slot, macB.String()}, func() { ready = true }, func(p TracePacket) error {
		if got = append(got, p); len(got) == len(want) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !ready {
		t.Errorf("Trace = %v, ready %v", err, ready)
	}
	<-w.closed // or the watch would go on for ever
	if len(asked) != 2 || asked[0] != macA || asked[1] != macB {
		t.Errorf("watched are %v", asked)
	}
	for i, p := range got {
		if fmt.Sprintf("%+v", p) != fmt.Sprintf("%+v", want[i]) {
			t.Errorf("packet %d: %+v, want %+v", i, p, want[i])
		}
	}
	for _, tt := range []struct {
		query string
		code  int
	}{{"", 400}, {"?all=1&node=web-01", 400}, {"?all=x", 400}, {"?node=web-77", 404}} {
		if r := do(s, "GET", "/v1/trace"+tt.query); r.Code != tt.code {
			t.Errorf("%q: status %d, want %d", tt.query, r.Code, tt.code)
		}
	}
	if r := do(&Server{Rack: reg}, "GET", "/v1/trace?all=1"); r.Code != 404 {
		t.Errorf("a server without packets: status %d", r.Code)
	}
}
