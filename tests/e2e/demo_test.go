package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDemo is `make demo` with the image there: it must end with a page, stay up, and leave nothing behind.
func TestDemo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces and boots machines")
	}
	data := filepath.Join(t.TempDir(), "lab")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	linkImages(t, data)
	out := &screen{}
	cmd := exec.Command(filepath.Join(work.bin, "muster"), "lab", "demo", "--data", data, "--firmware", "uefi-http")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	deadline := time.After(patience)
	for !strings.Contains(out.String(), "stays up until Ctrl-C") {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v\n%s", err, out)
		case <-deadline:
			_ = cmd.Process.Kill()
			t.Fatalf("the demo did not come to its end\n%s", out)
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, want := range []string{"ready as web-01", "Hello from web-01", "muster lab add --on"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not say %q", want)
		}
	}
	t.Logf("the demo, with a machine that boots from HTTP:\n%s", out)
	// A second one with the same data would pull the floor from under the first.
	if again, err := exec.Command(filepath.Join(work.bin, "muster"), "lab", "up", "--data", data).CombinedOutput(); err == nil ||
		!strings.Contains(string(again), "is up already") {
		t.Errorf("a second lab on the same data: %v\n%s", err, again)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after Ctrl-C: %v\n%s", err, out)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Fatal("the demo does not end with Ctrl-C")
	}
	if left := using(data); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, "\n"))
	}
}

// screen collects what a program prints.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// using lists the processes that name dir, or have it mounted.
func using(dir string) (out []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		if p == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		if b, _ := os.ReadFile(filepath.Join(p, "cmdline")); bytes.Contains(b, []byte(dir)) {
			out = append(out, p+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	if b, _ := os.ReadFile("/proc/mounts"); bytes.Contains(b, []byte(dir)) {
		out = append(out, "a mount")
	}
	return out
}
