package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name, token, host, auth, site, method string
		want                                  int
	}{
		{name: "loopback", host: "127.0.0.1:8081", want: 200},
		{name: "loopback 6", host: "[::1]:8081", want: 200},
		{name: "by name", host: "localhost:8081", want: 200},
		{name: "without port", host: "127.0.0.1", want: 200},
		{name: "DNS rebinding", host: "evil.example:8081", want: 403},
		{name: "another address", host: "10.77.0.1:8081", want: 403},
		{name: "no host", host: "", want: 403},
		{name: "a web page", host: "127.0.0.1:8081", site: "cross-site", method: "POST", want: 403},
		{name: "no token given", token: "s3cret", host: "rack.example", want: 401},
		{name: "wrong token", token: "s3cret", host: "rack.example", auth: "Bearer guess", want: 401},
		{name: "wrong scheme", token: "s3cret", host: "rack.example", auth: "Basic s3cret", want: 401},
		{name: "token", token: "s3cret", host: "rack.example", auth: "Bearer s3cret", want: 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Server{Token: tt.token}
			h := s.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, "/v1/pools", nil)
			r.Host = tt.host
			if tt.auth != "" {
				r.Header.Set("Authorization", tt.auth)
			}
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options is %q", got)
			}
			if w.Code != tt.want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
		})
	}
}

// TestToken: a client with the token gets through on TCP; the unix socket needs none.
func TestToken(t *testing.T) {
	unix, tcp := serve(t, &Server{Rack: newRegistry(t), Token: "s3cret"})
	if _, err := unix.Nodes(t.Context()); err != nil {
		t.Errorf("unix socket: %v", err)
	}
	if _, err := tcp.Nodes(t.Context()); err == nil {
		t.Error("TCP without the token: no error")
	}
	tcp.Token = "s3cret"
	if _, err := tcp.Nodes(t.Context()); err != nil {
		t.Errorf("TCP with the token: %v", err)
	}
}
