package power

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"muster/roles/power/powertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeRack is the other side of Lab's socket, as its documentation has it.
type fakeRack struct {
	mu sync.Mutex // guards on
	on map[string]bool
}

func (r *fakeRack) isOn(target string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on[target]
}

func (r *fakeRack) handler() http.Handler {
	mux := http.NewServeMux()
	with := func(fn func(w http.ResponseWriter, target string)) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			r.mu.Lock()
			defer r.mu.Unlock()
			target := req.PathValue("target")
			if _, ok := r.on[target]; !ok {
				http.Error(w, "no machine "+target+" in this rack", http.StatusNotFound)
				return
			}
			fn(w, target)
		}
	}
	mux.HandleFunc("POST /machines/{target}/on", with(func(_ http.ResponseWriter, t string) { r.on[t] = true }))
	mux.HandleFunc("POST /machines/{target}/off", with(func(_ http.ResponseWriter, t string) { r.on[t] = false }))
	mux.HandleFunc("GET /machines/{target}", with(func(w http.ResponseWriter, t string) {
		_ = json.NewEncoder(w).Encode(map[string]bool{"on": r.on[t]})
	}))
	return mux
}

// listen serves h on a unix socket until the test ends, and gives the socket's path.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rack.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { // ends with Close
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() { srv.Close(); <-done })
	return path
}

const (
	macA = "52:54:00:aa:00:01"
	macB = "52:54:00:aa:00:02"
	macC = "52:54:00:aa:00:03"
)

func TestLabConformance(t *testing.T) {
	powertest.Run(t, func(t *testing.T) powertest.Rig {
		rack := &fakeRack{on: map[string]bool{macA: false, macB: false}}
		return powertest.Rig{
			Driver: &Lab{Socket: listen(t, rack.handler())},
			Target: macA, Other: macB, Unknown: macC, IsOn: rack.isOn,
		}
	})
}

// TestLabErrors: a status becomes the error that it stands for, and carries the rack's reason.
func TestLabErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		kind   error
		want   string
	}{
		{http.StatusNotFound, "no such machine\n", fs.ErrNotExist, "no such machine"},
		{http.StatusBadRequest, "bad MAC\nmore", fs.ErrInvalid, "bad MAC"},
		{http.StatusForbidden, "", fs.ErrPermission, "403 Forbidden"},
		{http.StatusConflict, "", fs.ErrExist, "409 Conflict"},
		{http.StatusInternalServerError, "qemu: no /dev/kvm", nil, "qemu: no /dev/kvm"},
	} {
		l := &Lab{Socket: listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))}
		err := l.On(t.Context(), macA)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("status %d: %v, want %q of kind %v", c.status, err, c.want, c.kind)
		}
	}
}

// TestLabNonsense: an answer that does not say whether the machine is on is an error, not "off".
func TestLabNonsense(t *testing.T) {
	for _, body := range []string{"", "{}", "null", "<html>", `{"on":"yes"}`} {
		l := &Lab{Socket: listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}))}
		if on, err := l.Status(t.Context(), macA); err == nil {
			t.Errorf("answer %q: Status = %v without an error", body, on)
		}
	}
}

// TestLabAbsent: without a rack the error says so, and is not taken for a machine that does not exist.
func TestLabAbsent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	err := (&Lab{Socket: socket}).On(t.Context(), macA)
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no virtual rack listens on "+socket) {
		t.Errorf("On = %v", err)
	}
}

// TestLabTarget: a target cannot reach another path of the rack.
func TestLabTarget(t *testing.T) {
	paths := make(chan string, 1)
	l := &Lab{Socket: listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		paths <- r.URL.EscapedPath()
	}))}
	if err := l.On(t.Context(), "../x/y?z"); err != nil {
		t.Fatal(err)
	}
	if got, want := <-paths, "/machines/..%2Fx%2Fy%3Fz/on"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

// TestLabHangs: a rack that does not answer holds nobody longer than its context.
func TestLabHangs(t *testing.T) {
	entered := make(chan struct{})
	l := &Lab{Socket: listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends when the request has come
		<-entered
		cancel()
	}()
	if err := l.On(ctx, macA); !errors.Is(err, context.Canceled) {
		t.Errorf("On = %v, want context.Canceled", err)
	}
}
