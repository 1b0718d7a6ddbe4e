package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenRefusesOtherMachines(t *testing.T) {
	for _, tt := range []struct {
		addr, token string
		secure, ok  bool
	}{
		{addr: "127.0.0.1:8081", ok: true},
		{addr: "127.9.9.9:0", ok: true},
		{addr: "[::1]:8081", ok: true},
		{addr: "localhost:8081", ok: true},
		{addr: ":8081"},
		{addr: "0.0.0.0:8081"},
		{addr: "10.77.0.1:8081"},
		{addr: "rack.example:8081"},
		{addr: "8081"},
		{addr: ":8081", token: "s3cret"},
		{addr: ":8081", secure: true},
		{addr: ":8081", token: "s3cret", secure: true, ok: true},
	} {
		err := checkListen(tt.addr, tt.token, tt.secure)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestSocketMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "muster.sock")
	socks, err := new(Server).Listen(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := socks.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

// stale makes the socket that a killed server leaves.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	socks, err := new(Server).Listen(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = socks.Close()
}

func TestSocketInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socks, err := new(Server).Listen(path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socks.Close()
	_, err = new(Server).Listen(path, "", nil)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "answers on "+path) {
		t.Errorf("got %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first server's socket is gone: %v", err)
	} else {
		_ = c.Close()
	}
}

func TestSocketPathIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Server).Listen(path, "", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if _, err := new(Server).Listen(path, "", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// TestAddressInUse: the error names the address, and the socket that was opened before is gone again.
func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "s")
	_, err = new(Server).Listen(path, l.Addr().String(), nil)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), l.Addr().String()+" is in use") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket was left: %v", err)
	}
}

// TestSecure: another address speaks HTTPS only, and wants the token; the page's files are open.
func TestSecure(t *testing.T) {
	proof := httptest.NewUnstartedServer(nil)
	proof.StartTLS()
	defer proof.Close()
	s := &Server{Rack: newRegistry(t), Token: "s3cret"}
	socks, err := s.Listen("", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ListenSecure(socks, ":0", proof.TLS.Certificates[0]); err != nil {
		t.Fatal(err)
	}
	if err := s.ListenSecure(&Sockets{}, socks.SecureAddr().String(), proof.TLS.Certificates[0]); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "api.secure") {
		t.Errorf("an address in use: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, socks) }()
	_, port, _ := net.SplitHostPort(socks.SecureAddr().String())
	ask := func(url, token string) int {
		r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := proof.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		url, token string
		want       int
	}{
		{"https://127.0.0.1:" + port + "/", "", 200},
		{"https://127.0.0.1:" + port + "/v1/nodes", "", 401},
		{"https://127.0.0.1:" + port + "/v1/nodes", "s3cret", 200},
		{"http://127.0.0.1:" + port + "/v1/nodes", "s3cret", 400},
	} {
		if got := ask(tt.url, tt.token); got != tt.want {
			t.Errorf("%s with %q: status %d, want %d", tt.url, tt.token, got, tt.want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := new(Server).ListenSecure(&Sockets{}, ":0", proof.TLS.Certificates[0]); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("without a token: %v", err)
	}
}
