package api

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"muster/roles"
	"muster/roles/declare"
	"muster/roles/state"
)

const rackYAML = `roles:
- {name: web, health: {http: {port: 80}}}
- {name: ntp, health: {ntp: {}}}
pools:
- {name: web, role: web, size: {min: 1, max: 3}, addresses: 10.77.0.20-10.77.0.39, match: {arch: [x86_64]}}
- {name: ntp, role: ntp, size: {max: 2}, addresses: 10.77.0.40-10.77.0.49}
`

var (
	start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	macA  = roles.MAC{0x52, 0x54, 0, 0xaa, 0, 1}
	macB  = roles.MAC{0x52, 0x54, 0, 0xaa, 0, 2}
)

// newRegistry is a real registry over an empty store in memory, with a clock that stands still.
func newRegistry(t *testing.T) *roles.Registry {
	t.Helper()
	st := state.OpenMemory()
	t.Cleanup(func() { _ = st.Close() })
	return &roles.Registry{Store: st, Images: fixedImages{}, Now: func() time.Time { return start }}
}

// declared is a registry with the roles and pools of rackYAML.
func declared(t *testing.T) *roles.Registry {
	t.Helper()
	r := newRegistry(t)
	apply(t, r, rackYAML)
	return r
}

func apply(t *testing.T, r *roles.Registry, yaml string) {
	t.Helper()
	d, err := declare.Parse([]byte(yaml), "rack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), d, roles.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
}

// serve runs s on a socket and on a loopback port until the test ends, and gives a client of each.
func serve(t *testing.T, s *Server) (unix, tcp *Client) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	socks, err := s.Listen(socket, "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, socks) }()
	unix = Dial(socket)
	tcp, err = DialURL("http://" + socks.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close()
		tcp.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return unix, tcp
}

// client is a client of a server that runs until the test ends.
func client(t *testing.T, s *Server) *Client {
	t.Helper()
	c, _ := serve(t, s)
	return c
}

// do makes one request to the handler alone.
func do(s *Server, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// see makes a machine known by its first packet.
func see(t *testing.T, r *roles.Registry, mac roles.MAC) {
	t.Helper()
	err := r.Observe(t.Context(), []roles.Sighting{{
		MAC: mac, Time: start, Step: roles.StepDiscover, Message: "PXEClient", Boots: true,
		Facts: roles.Facts{Arch: "x86_64", Firmware: "bios"},
	}})
	if err != nil {
		t.Fatal(err)
	}
}
