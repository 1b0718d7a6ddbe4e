package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leaveSession makes a root with the session that a boot has left.
func leaveSession(t *testing.T, s Session) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.MkdirAll(filepath.Dir(root+SessionFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.save(root); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestCaller(t *testing.T) {
	status := http.StatusOK
	var heard []PairCall
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c PairCall
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || r.URL.Path != PathPair || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		heard = append(heard, c)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"known": "abc"})
	})
	srv, pin := tlsServer(t, h, 0)
	stranger, _ := tlsServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server was told") }), 0)
	root := leaveSession(t, Session{MAC: "52:54:00:aa:00:01", Key: "proof", Pin: pin, Servers: []string{stranger.URL, srv.URL}})
	c, err := NewCaller(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ Known string }
	if err := c.Call(t.Context(), 5*time.Second, "report", map[string]int{"size": 7}, &out); err != nil || out.Known != "abc" {
		t.Errorf("%+v, %v", out, err)
	}
	if err := c.Call(t.Context(), 5*time.Second, "made", nil, nil); err != nil {
		t.Error(err)
	}
	if len(heard) != 2 || heard[0].MAC != "52:54:00:aa:00:01" || heard[0].Key != "proof" || heard[0].Op != "report" || string(heard[0].Body) != `{"size":7}` || heard[1].Body != nil {
		t.Errorf("heard %+v", heard)
	}
	for code, kind := range map[int]error{409: fs.ErrExist, 403: fs.ErrPermission, 400: fs.ErrInvalid} {
		status = code
		if err := c.Call(t.Context(), 5*time.Second, "outdate", nil, nil); !errors.Is(err, kind) || !strings.Contains(err.Error(), "outdate") {
			t.Errorf("status %d: %v", code, err)
		}
	}
	if _, err := NewCaller(t.TempDir(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no session: %v", err)
	}
}
