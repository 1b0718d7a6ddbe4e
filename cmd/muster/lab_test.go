package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"muster/tests/rack"
)

// labSocketEnv makes this test's binary a process that serves a lab socket until it is interrupted.
const labSocketEnv = "MUSTER_TEST_LAB_SOCKET"

func TestMain(m *testing.M) {
	if socket := os.Getenv(labSocketEnv); socket != "" {
		os.Exit(serveUntilInterrupted(socket))
	}
	os.Exit(m.Run())
}

func serveUntilInterrupted(socket string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	l, err := net.Listen("unix", socket)
	if err != nil {
		return 1
	}
	_, _ = os.Stdout.WriteString("listening\n")
	<-ctx.Done()
	_ = l.Close()
	return 0
}

// TestLabDown ends the process that serves the lab, whose number nobody gave it, and waits for it.
func TestLabDown(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "lab")
	lab := exec.CommandContext(t.Context(), os.Args[0])
	lab.Env = append(os.Environ(), labSocketEnv+"="+socket)
	out, err := lab.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p, stdout, errs := newProgram()
	if code := p.run(t.Context(), []string{"lab", "down", "--lab-socket", socket}); code != 0 || stdout.String() != "the lab is down\n" {
		t.Errorf("exit code %d, %s%s", code, stdout, errs)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("lab down returned before its process had ended")
	}
	if err := lab.Wait(); err != nil {
		t.Errorf("the lab's process: %v", err)
	}
}

// TestLabCommands runs them against a real rack.
func TestLabCommands(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs qemu-system-x86_64: run make setup")
	}
	r, err := rack.New(t.Context(), rack.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	socket := filepath.Join(r.Dir(), "lab.sock")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.ServeLab(ctx, socket) }()
	defer func() { cancel(); <-done }()
	waitSocket(t, socket)

	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"list", 0, "no machines: muster lab add\n"},
		{"add m1 --mac 52:54:00:aa:00:01 --firmware uefi", 0, "MACHINE  MAC                FIRMWARE  POWER\nm1       52:54:00:aa:00:01  uefi      off\n"},
		{"add m2 --mac 52:54:00:aa:00:02 --on", 0, "MACHINE  MAC                FIRMWARE  POWER\nm2       52:54:00:aa:00:02  bios      on\n"},
		{"add m1", 6, ""},
		{"power m1 status", 0, "m1: off\n"},
		{"power 52:54:00:aa:00:02 status", 0, "m2: on\n"},
		{"power m2 cycle", 0, "m2: on\n"},
		{"power m2 off", 0, "m2: off\n"},
		{"power m3 on", 3, ""},
		{"power 52:54:00:aa:00:03 on", 3, ""},
		{"console m1", 0, ""},
		{"console m3", 3, ""},
		{"list", 0, "MACHINE  MAC                FIRMWARE  POWER\nm1       52:54:00:aa:00:01  uefi      off\nm2       52:54:00:aa:00:02  bios      off\n"},
	} {
		p, out, errs := newProgram()
		code := p.run(t.Context(), append([]string{"lab", "--lab-socket", socket}, strings.Fields(tt.args)...))
		if code != tt.code || out.String() != tt.want {
			t.Errorf("lab %s: exit code %d, %q, %q; want %d, %q", tt.args, code, out, errs, tt.code, tt.want)
		}
	}
}

// waitSocket waits until somebody listens.
func waitSocket(t *testing.T, socket string) {
	t.Helper()
	for t.Context().Err() == nil {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			return
		}
	}
}
