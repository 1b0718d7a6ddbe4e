package child

import (
	"context"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// runs starts p until the test ends, or stop is called, which waits for its end.
func runs(t *testing.T, p *Process) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		p.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// TestComesBack: a process that ends, or is killed, is started again, and every line that it wrote is passed on.
func TestComesBack(t *testing.T) {
	pids, ended := make(chan int, 10), make(chan error, 10)
	lines := make(chan string, 100)
	stop := runs(t, &Process{
		Command: func() *exec.Cmd { return exec.Command("sh", "-c", "echo one; echo two >&2; exec sleep 1000") },
		Line:    func(s string) { lines <- s },
		Started: func(pid int) { pids <- pid },
		Ended:   func(err error, again time.Duration) { ended <- err },
	})
	for range 2 {
		pid := <-pids
		if a, b := <-lines, <-lines; a+b != "onetwo" && a+b != "twoone" {
			t.Errorf("it wrote %q and %q", a, b)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("it ended with %v", err)
		}
	}
	pid := <-pids
	stop()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("it runs after the end: %v", err)
	}
	if len(ended) != 0 {
		t.Error("its end by our hand is a failure")
	}
}

// TestStubborn: one that does not want to end is killed.
func TestStubborn(t *testing.T) {
	ready := make(chan string, 1)
	var failed atomic.Bool
	stop := runs(t, &Process{
		Command: func() *exec.Cmd {
			return exec.Command("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
		},
		Line:  func(s string) { ready <- s },
		Ended: func(error, time.Duration) { failed.Store(true) },
		Grace: 50 * time.Millisecond,
	})
	<-ready
	stop()
	if failed.Load() {
		t.Error("its end by our hand is a failure")
	}
}

// TestCannotStart: what is not there is tried again, later and later.
func TestCannotStart(t *testing.T) {
	again := make(chan time.Duration, 10)
	runs(t, &Process{
		Command: func() *exec.Cmd { return exec.Command("/nonexistent") },
		Line:    func(string) {},
		Ended:   func(_ error, d time.Duration) { again <- d },
	})
	if a, b := <-again, <-again; b != 2*a {
		t.Errorf("tried again after %s, and then after %s", a, b)
	}
}
