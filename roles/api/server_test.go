package api

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"muster/images"
	"muster/roles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOperate walks a machine through everything that an operator can do with it, over both sockets.
func TestOperate(t *testing.T) {
	reg := declared(t)
	unix, tcp := serve(t, &Server{Rack: reg})
	ctx := t.Context()

	n, err := unix.Assign(ctx, macA.String(), "web", "web-02")
	if err != nil || n.Slot != "web-02" || n.Address.String() != "10.77.0.21" {
		t.Fatalf("Assign: %+v, %v", n, err)
	}
	if n, err = tcp.Node(ctx, "web-02"); err != nil || n.MAC != macA {
		t.Errorf("Node by slot: %+v, %v", n, err)
	}
	if n, err = tcp.Node(ctx, "52-54-00-AA-00-01"); err != nil || n.MAC != macA {
		t.Errorf("Node by MAC in another notation: %+v, %v", n, err)
	}
	if n, err = unix.Replace(ctx, "web-02", macB.String()); err != nil || n.MAC != macB || n.Slot != "web-02" {
		t.Errorf("Replace: %+v, %v", n, err)
	}
	if n, err = unix.Release(ctx, "web-02"); err != nil || n.Slot != "" || n.State != roles.StateWaiting {
		t.Errorf("Release: %+v, %v", n, err)
	}
	if err := unix.Forget(ctx, macB.String()); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if _, err := tcp.Node(ctx, macB.String()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Node after Forget: %v", err)
	}
	if _, err := tcp.Power(ctx, macA.String(), roles.PowerOn); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Power without a driver: %v", err)
	}
	if _, err := tcp.Assign(ctx, macA.String(), "mail", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Assign to a pool that is not there: %v", err)
	}
}

func TestListings(t *testing.T) {
	reg := declared(t)
	see(t, reg, macA)
	c := client(t, &Server{Rack: reg})
	ctx := t.Context()
	if v, err := c.Nodes(ctx); err != nil || len(v) != 1 || v[0].MAC != macA {
		t.Errorf("Nodes: %+v, %v", v, err)
	}
	if v, err := c.Pools(ctx); err != nil || len(v) != 2 || len(v[1].Slots) != 3 {
		t.Errorf("Pools: %+v, %v", v, err)
	}
	if v, err := c.Pool(ctx, "ntp"); err != nil || v.Role != "ntp" || v.Free != 2 {
		t.Errorf("Pool: %+v, %v", v, err)
	}
	if v, err := c.Slots(ctx); err != nil || len(v) != 5 || v[0].Name != "ntp-01" {
		t.Errorf("Slots: %+v, %v", v, err)
	}
	if v, err := c.Roles(ctx); err != nil || len(v) != 2 {
		t.Errorf("Roles: %+v, %v", v, err)
	}
	if v, err := c.Role(ctx, "web"); err != nil || v.Health == nil || v.Health.HTTP.Port != 80 {
		t.Errorf("Role: %+v, %v", v, err)
	}
	if v, err := c.Boots(ctx, macA.String()); err != nil || len(v) != 1 || len(v[0].Events) == 0 {
		t.Errorf("Boots: %+v, %v", v, err)
	}
	if v, err := c.Boot(ctx, macA.String(), 1); err != nil || v.ID != 1 {
		t.Errorf("Boot 1: %+v, %v", v, err)
	}
	if _, err := c.Boot(ctx, macA.String(), 99); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Boot 99: %v", err)
	}
	if v, err := c.Health(ctx); err != nil || v.Status != "ok" || v.Revision != reg.Revision() {
		t.Errorf("Health: %+v, %v", v, err)
	}
}

// TestEmptyListings: an array is never null.
func TestEmptyListings(t *testing.T) {
	s := &Server{Rack: newRegistry(t)}
	for _, path := range []string{"nodes", "pools", "slots", "roles", "images", "secrets", "leases", "events"} {
		if w := do(s, "GET", "/v1/"+path); w.Code != 200 || w.Body.String() != "[]\n" {
			t.Errorf("%s: %d %q, want []", path, w.Code, w.Body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := &Server{Rack: declared(t)}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/nothing", "", 404, `there is no`},
		{"GET", "/v2", "", 404, `openapi.yaml`},
		{"PUT", "/v1/nodes", "", 405, `takes GET, HEAD, not PUT`},
		{"POST", "/v1/nodes/web-01/assign", "", 400, `no body`},
		{"POST", "/v1/nodes/web-01/assign", "{", 400, `body`},
		{"POST", "/v1/nodes/web-01/assign", `{"pol": "web"}`, 400, `pol`},
		{"POST", "/v1/nodes/web-01/assign", `{"pool": "web"} {}`, 400, `follows`},
		{"POST", "/v1/nodes/web-01/assign", `{"pool": "` + strings.Repeat("x", maxBody) + `"}`, 413, `larger than`},
		{"POST", "/v1/nodes/52:54:00:aa:00:01/power", `{"action": "explode"}`, 404, `not known`},
		{"POST", "/v1/apply", strings.Repeat("#", maxDeclaration+1), 413, `larger than`},
		{"POST", "/v1/apply?dry-run=perhaps", "", 400, `dry-run`},
		{"GET", "/v1/nodes?rev=x", "", 400, `revision`},
		{"GET", "/v1/events?after=-1", "", 400, `after`},
		{"GET", "/v1/events?limit=0", "", 400, `limit`},
		{"GET", "/v1/events?last=x", "", 400, `last`},
		{"GET", "/v1/events?follow=x", "", 400, `follow`},
		{"GET", "/v1/nodes/52:54:00:aa:00:01/boots/0", "", 400, `not a boot`},
		{"GET", "/v1/images/Web", "", 400, `Web`},
		{"GET", "/v1/images/web", "", 404, `no images`},
		{"POST", "/v1/images/web/build", "", 404, `builds no images`},
		{"POST", "/v1/images/shop/import", "{}", 404, `imports no images`},
		{"POST", "/v1/images/web:7/publish", "", 404, `no images`},
		{"POST", "/v1/images/prune", "{}", 404, `no images`},
		{"POST", "/v1/images/prune", "", 400, `no body`},
		{"DELETE", "/v1/images/web:0", "", 400, `web:0`},
		{"POST", "/v1/nodes/web-01/restart", "", 400, `no body`},
		{"POST", "/v1/nodes/web-01/restart", "{}", 404, `web-01`},
		{"POST", "/v1/pools/web/rollout", `{"timeout": "soon"}`, 400, `soon`},
		{"PUT", "/v1/secrets/pool/web", "", 404, `there is no`},
		{"GET", "/v1/doctor", "", 404, `no doctor`},
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		e := readError(w.Result())
		if w.Code != tt.status || !strings.Contains(e.Message, tt.want) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %q, want %d and %q", tt.method, tt.path, w.Code, e.Message, tt.status, tt.want)
		}
	}
}

// TestBadImageRequests: with a catalog.
func TestBadImageRequests(t *testing.T) {
	s := &Server{Rack: declared(t), Images: &keptImages{}, Import: func(context.Context, string, images.Recipe, func(BuildProgress)) (images.Image, error) {
		panic("not to be called")
	}}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/images/web:8/publish", "", 404, `web:8`},
		{"POST", "/v1/images/web:7/rollback", "", 400, `publish it`},
		{"GET", "/v1/images/web:8/verify", "", 404, `web:8`},
		{"GET", "/v1/images/web:7/diff", "", 400, `to= is missing`},
		{"GET", "/v1/images/web:7/diff?to=Web", "", 400, `Web`},
		{"GET", "/v1/images/web:7/log?tail=0", "", 400, `tail`},
		{"POST", "/v1/images/web:8/pack", "", 404, `web:8`},
		{"DELETE", "/v1/images/web", "", 400, `names no version \(web:7 is current\)`},
		{"DELETE", "/v1/images/web:8", "", 404, `web:8`},
		{"POST", "/v1/images/prune", `{"name": "web:7"}`, 400, `web:7`},
		{"POST", "/v1/images/prune", `{"keep": -1}`, 400, `keep`},
		{"POST", "/v1/images/Web/import", `{"from": "tar:/x"}`, 400, `Web`},
		{"POST", "/v1/images/web/import", `{}`, 400, `no from`},
		{"POST", "/v1/images/web/import", `{"form": "tar:/x"}`, 400, `form`},
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		e := readError(w.Result())
		if w.Code != tt.status || !regexp.MustCompile(tt.want).MatchString(e.Message) {
			t.Errorf("%s %s: %d %q, want %d and %q", tt.method, tt.path, w.Code, e.Message, tt.status, tt.want)
		}
	}
}

// brokenRack fails when its pools are read, as a store on a full disk or a lost backend does.
type brokenRack struct{ Rack }

func (brokenRack) Pools() ([]roles.PoolStatus, error) { return nil, errors.New("state: disk is gone") }

func TestInternalError(t *testing.T) {
	c := client(t, &Server{Rack: brokenRack{newRegistry(t)}})
	_, err := c.Health(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Status != 500 || e.Kind != "internal" || e.Message != "state: disk is gone" {
		t.Errorf("got %#v", err)
	}
}

func TestViewsOfTheServer(t *testing.T) {
	lease := LeaseView{MAC: macA, Hostname: "web-01", Expires: start}
	s := &Server{
		Rack: newRegistry(t), Version: "v9", Started: start,
		Leases: func(context.Context) ([]LeaseView, error) { return []LeaseView{lease}, nil },
		Doctor: func(context.Context) ([]Finding, error) {
			return []Finding{{"tftp", StatusFail, "no answer", "start it"}}, nil
		},
	}
	c := client(t, s)
	if v, err := c.Leases(t.Context(), LeaseQuery{}); err != nil || len(v) != 1 || v[0] != lease {
		t.Errorf("Leases: %+v, %v", v, err)
	}
	if v, err := c.Doctor(t.Context()); err != nil || len(v) != 1 || v[0].Fix != "start it" {
		t.Errorf("Doctor: %+v, %v", v, err)
	}
	if v, err := c.Version(t.Context()); err != nil || v != (Version{"v9", start}) {
		t.Errorf("Version: %+v, %v", v, err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := &Server{Rack: newRegistry(t), Metrics: reg}
	h := s.Handler()
	for range 2 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/nodes/aa", nil))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if f.GetName() == "muster_api_requests_total" && len(f.Metric) == 1 && f.Metric[0].GetCounter().GetValue() == 2 {
			for _, l := range f.Metric[0].Label {
				got[l.GetName()] = l.GetValue()
			}
		}
	}
	if want := map[string]string{"method": "GET", "route": "/v1/nodes/{key}", "code": "404"}; !maps.Equal(got, want) {
		t.Errorf("two requests counted under %v, want %v", got, want)
	}
}

// TestStopEndsWaiters: a held request and a stream do not keep the server from stopping.
func TestStopEndsWaiters(t *testing.T) {
	reg := declared(t)
	s := &Server{Rack: reg}
	socks, err := s.Listen("", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, socks) }()
	c, err := DialURL("http://" + socks.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	first := make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		followed <- c.Follow(t.Context(), EventQuery{}, func(roles.Event) error { close(first); return nil })
	}()
	see(t, reg, macA)
	<-first
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Serve does not return")
	}
	if err := <-followed; !errors.Is(err, ErrUnreachable) {
		t.Errorf("Follow: %v, want ErrUnreachable", err)
	}
	if _, err := c.Nodes(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Nodes of a stopped server: %v", err)
	}
}

func TestNotAMusterServer(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	c, err := DialURL(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.Nodes(t.Context()); err == nil || !strings.Contains(err.Error(), "is it a Muster server?") {
		t.Errorf("got %v", err)
	}
}
