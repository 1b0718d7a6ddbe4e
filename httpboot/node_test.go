package httpboot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/httpboot/agent"
)

// post sends a body as an agent does.
func post(ctx context.Context, h http.Handler, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://10.77.0.1:8080"+path, strings.NewReader(body)).WithContext(ctx)
	r.RemoteAddr = "10.77.0.100:1025"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAgentEndpoints(t *testing.T) {
	spec := &agent.Spec{Hostname: "web-03", Address: slirp}
	d := &fixedDirector{
		hello: func(agent.Hello) (agent.Reply, error) { return agent.Reply{Wait: "no pool"}, nil },
		poll:  func(context.Context, agent.Poll) (agent.Reply, error) { return agent.Reply{Spec: spec}, nil },
	}
	h := handler(t, &Server{Director: d})
	w := post(t.Context(), h, agent.PathHello, `{"mac":"52:54:00:aa:00:01","token":"x","inventory":{"memory":512},"newer":[1]}`)
	if w.Code != 200 || w.Body.String() != `{"wait":"no pool"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("hello: %d %s", w.Code, w.Body)
	}
	if d.hellos[0].Inventory.Memory != 512 || d.remotes[0] != netip.MustParseAddr("10.77.0.100") {
		t.Errorf("hello was %+v from %v", d.hellos, d.remotes)
	}
	var reply agent.Reply
	w = post(t.Context(), h, agent.PathSpec, `{}`)
	if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.Spec == nil || reply.Spec.Hostname != "web-03" {
		t.Errorf("spec: %v %s", err, w.Body)
	}
	w = post(t.Context(), h, agent.PathEvents, `{"events":[{"seq":1,"step":"hello"}]}`)
	if w.Code != http.StatusNoContent || len(d.events) != 1 {
		t.Errorf("events: %d %s; %+v", w.Code, w.Body, d.events)
	}
}

// The error's kind decides the status; what nobody outside can act on is not told.
func TestErrors(t *testing.T) {
	for want, err := range map[string]error{
		"404 no node 52:54:00:aa:00:01: file does not exist\n":  fmt.Errorf("no node 52:54:00:aa:00:01: %w", fs.ErrNotExist),
		"409 taken: file already exists\n":                      fmt.Errorf("taken: %w", fs.ErrExist),
		"400 bad: invalid argument\n":                           fmt.Errorf("bad: %w", fs.ErrInvalid),
		"403 token: permission denied\n":                        fmt.Errorf("token: %w", fs.ErrPermission),
		"500 internal error; the boot server's log says more\n": errors.New("bbolt: /var/lib/muster/state.db"),
	} {
		d := &fixedDirector{
			hello:  func(agent.Hello) (agent.Reply, error) { return agent.Reply{}, err },
			poll:   func(context.Context, agent.Poll) (agent.Reply, error) { return agent.Reply{}, err },
			report: func(agent.Report) error { return err },
		}
		h := handler(t, &Server{Director: d})
		for _, path := range []string{agent.PathHello, agent.PathSpec, agent.PathEvents} {
			w := post(t.Context(), h, path, "{}")
			if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
}

// A poll that nobody answers ends after PollHold with a reply to wait, and at once when the server stops.
func TestPollIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, &Server{Director: &fixedDirector{}})
		start := time.Now()
		w := post(t.Context(), h, agent.PathSpec, "{}")
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"wait":`) || time.Since(start) != agent.PollHold {
			t.Errorf("after %v: %d %s", time.Since(start), w.Code, w.Body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w = post(ctx, h, agent.PathSpec, "{}")
		if w.Code != http.StatusServiceUnavailable || time.Since(start) != agent.PollHold+time.Second {
			t.Errorf("after %v: %d %s", time.Since(start), w.Code, w.Body)
		}
	})
}

// Garbage is refused and counted.
func TestGarbage(t *testing.T) {
	s := &Server{Director: &fixedDirector{}}
	h := handler(t, s)
	bodies := []string{"", "{", "null garbage", `{"mac":7}`, `[]`, "\x00\xff", `{"mac":"` + strings.Repeat("x", bodySize) + `"}`}
	for _, path := range []string{agent.PathHello, agent.PathSpec, agent.PathEvents} {
		for _, body := range bodies {
			if w := post(t.Context(), h, path, body); w.Code != 400 {
				t.Errorf("%s with %.20q: %d", path, body, w.Code)
			}
		}
	}
	if got := value(t, s.metrics.rejected.WithLabelValues("hello", "garbage")); int(got) != len(bodies) {
		t.Errorf("%v counted, want %d", got, len(bodies))
	}
	for _, path := range []string{"/", "/ipxe/", "/v1/agent", "/favicon.ico", agent.PathHello} {
		if w := get(h, path); w.Code != 404 {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	if got := value(t, s.metrics.requests.WithLabelValues("unknown", "404")); got != 5 {
		t.Errorf("%v unknown pages counted", got)
	}
}

// No request makes the server crash, nor answer with a fault of its own.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "/ipxe", "mac=52-54-00-aa-00-01", "h:80", "")
	f.Add("POST", agent.PathHello, "", "", `{"mac":"x","inventory":{"nics":[{}]}}`)
	f.Add("POST", agent.PathEvents, "", "[::1]", `{"events":[{"seq":-1}]}`)
	f.Add("HEAD", "/images/web/7/vmlinuz", "mac=%", "", "")
	f.Add("GET", "/files/../x", "", "", "")
	images, _ := bootImage(f)
	h := handler(f, &Server{Director: &fixedDirector{
		poll: func(context.Context, agent.Poll) (agent.Reply, error) { return agent.Reply{}, nil },
	}, Images: images})
	f.Fuzz(func(t *testing.T, method, path, query, host, body string) {
		r := httptest.NewRequest(http.MethodGet, "/", bytes.NewBufferString(body))
		r.Method, r.Host = method, host
		r.URL = &url.URL{Path: path, RawQuery: query}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %s?%s: %d %s", method, path, query, w.Code, w.Body)
		}
	})
}
