package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/roles/api"
)

// TestServerByURL: --server over TCP, with the token that it wants.
func TestServerByURL(t *testing.T) {
	w := newWorld("")
	defer w.close()
	srv := &api.Server{Rack: w.reg, Token: "s3cret"}
	socks, err := srv.Listen("", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, socks) }()
	defer func() { cancel(); <-done }()

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "http://" + socks.Addr().String()
	for _, tt := range []struct {
		args string
		code int
	}{
		{"--server " + url + " --token-file " + file + " node list", exitOK},
		{"--server " + url + "/ --token-file " + file + " node show 52:54:00:aa:00:01", exitNotFound},
		{"--server " + url + " node list", exitPermission},
		{"--server " + url + " --token-file " + file + "x node list", exitNotFound},
	} {
		p, out, errs := newProgram()
		if code := p.run(t.Context(), strings.Fields(tt.args)); code != tt.code {
			t.Errorf("%s: exit code %d, %s%s; want %d", tt.args, code, out, errs, tt.code)
		}
	}
}

// TestPowerCycleFollow shows the boot that the power cycle began, not the one before, until it fails.
func TestPowerCycleFollow(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	defer w.close()
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	if err := w.declare("nodes:\n- {mac: '52:54:00:aa:00:01', power: {driver: lab}}\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.boot("52:54:00:aa:00:01", false); err != nil {
		t.Fatal(err)
	}
	p, _, _ := newProgram()
	r, out := io.Pipe()
	p.stdout = out
	code := make(chan int, 1)
	go func() {
		code <- p.run(t.Context(), []string{"--socket", w.socket, "node", "power", "52:54:00:aa:00:01", "cycle", "--follow"})
		_ = out.Close()
	}()
	first := make([]byte, 256)
	n, err := r.Read(first)
	if err != nil || string(first[:n]) != "52:54:00:aa:00:01: on\n" {
		t.Fatalf("%q, %v", first[:n], err)
	}
	if err := w.boot("52:54:00:aa:00:01", false); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != exitFailed || !strings.HasPrefix(string(shown), "boot 2 of ") || !strings.Contains(string(shown), "ERROR: mounting the root") {
		t.Errorf("exit code %d\n%s", c, shown)
	}
}
