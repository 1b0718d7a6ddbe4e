package health

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"muster/roles"
)

// portOf is the port of a test server.
func portOf(srv *httptest.Server) int {
	return int(netip.MustParseAddrPort(srv.Listener.Addr().String()).Port())
}

func TestHTTP(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
		}
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		// Following it would fail: nothing listens there.
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/host", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "www.example" {
			w.WriteHeader(http.StatusMisdirectedRequest)
		}
	})
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-release })
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("half of it"))
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) }) // before Close, which waits for the handlers
	port := portOf(srv)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)

	for _, c := range []struct {
		name  string
		check roles.HTTPCheck
		want  string
	}{
		{"root", roles.HTTPCheck{}, ""},
		{"path", roles.HTTPCheck{Path: "/"}, ""},
		{"redirect passes and is not followed", roles.HTTPCheck{Path: "/moved"}, ""},
		{"host", roles.HTTPCheck{Path: "/host", Host: "www.example"}, ""},
		{"interim answers", roles.HTTPCheck{Path: "/hints"}, ""},
		{"endless page", roles.HTTPCheck{Path: "/endless"}, ""},
		{"path without slash", roles.HTTPCheck{Path: "bad"}, url + "/bad answers 502 Bad Gateway"},
		{"other host", roles.HTTPCheck{Path: "/host"}, "421 Misdirected Request"},
		{"not found", roles.HTTPCheck{Path: "/none"}, url + "/none answers 404 Not Found"},
		{"half", roles.HTTPCheck{Path: "/half"}, url + "/half answers 200 OK, but its page breaks off"},
		{"close", roles.HTTPCheck{Path: "/close"}, "closed the connection before it answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.check.Port = port
			check(t, roles.Health{HTTP: &c.check}, loopback, c.want)
		})
	}
	t.Run("slow", func(t *testing.T) {
		h := roles.Health{HTTP: &roles.HTTPCheck{Port: port, Path: "/slow"}, Timeout: roles.Duration(50 * time.Millisecond)}
		check(t, h, loopback, fmt.Sprintf("no answer from 127.0.0.1:%d within 50ms", port))
	})
	t.Run("refused", func(t *testing.T) {
		p := closedPort(t)
		check(t, roles.Health{HTTP: &roles.HTTPCheck{Port: p}}, loopback,
			fmt.Sprintf("connection refused: nothing listens on port %d of 127.0.0.1", p))
	})
}

// TestHTTPURL: port 80 is left out, as people write it, and IPv6 addresses are bracketed.
func TestHTTPURL(t *testing.T) {
	for target, want := range map[string]string{
		"10.77.0.20:80":   "http://10.77.0.20/",
		"10.77.0.20:8080": "http://10.77.0.20:8080/",
		"[fd00::1]:80":    "http://[fd00::1]/",
		"[fd00::80]:81":   "http://[fd00::80]:81/",
	} {
		req, err := httpRequest(t.Context(), roles.HTTPCheck{}, netip.MustParseAddrPort(target))
		if err != nil {
			t.Fatal(err)
		}
		if got := req.URL.String(); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// TestHTTPGarbage: what is no HTTP server is told as such.
func TestHTTPGarbage(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 smtp.example ESMTP\r\n")
			_, _ = io.Copy(io.Discard, c) // until the check hangs up
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	check(t, roles.Health{HTTP: &roles.HTTPCheck{Port: l.Addr().(*net.TCPAddr).Port}}, loopback, "no HTTP answer: malformed HTTP")
}
