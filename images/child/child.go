// Package child keeps other people's daemons running in the foreground: NFS servers, the storage pairs' third vote.
//
// It knows nothing of what they do, follows no process that leaves for the background, and restarts without an end:
// who needs a daemon needs it however often it failed.
package child

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Process is a process that is kept running. It dies with us, however we die.
type Process struct {
	// Command makes the process for one start. Required.
	Command func() *exec.Cmd
	// Line gets each line that it writes, in order, from one goroutine. Required.
	Line func(string)
	// Started is called with the process's id after each start; nil: nobody asks.
	Started func(pid int)
	// Ended is called when it ended by itself, or could not be started, with the reason and when it will be started
	// again. Required.
	Ended func(err error, again time.Duration)
	// Grace is how long it may take to end after SIGTERM; zero kills it at once.
	Grace time.Duration
	// Namespace gives it a PID namespace of its own, whose processes end with the first one.
	Namespace bool
}

// A process that fails at once is tried again after firstBackoff, then twice that, up to maxBackoff; one
// that ran for steady begins anew.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	steady       = 30 * time.Second
)

// Run keeps the process running until ctx ends. It returns when the process is gone.
func (c *Process) Run(ctx context.Context) {
	backoff := firstBackoff
	for {
		begin := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > steady {
			backoff = firstBackoff
		}
		c.Ended(err, backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// once runs the process to its end.
func (c *Process) once(ctx context.Context) error {
	cmd := c.Command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	if c.Namespace {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	cmd.WaitDelay = c.Grace
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	read := make(chan struct{})
	// This goroutine ends when w is closed, below.
	go func() {
		defer close(read)
		c.read(r)
	}()
	done := make(chan error, 1)
	// This goroutine ends with the process. It keeps its thread: the kernel sends Pdeathsig when the
	// thread that started the child ends, not the process.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		if c.Started != nil {
			c.Started(cmd.Process.Pid)
		}
		stop := context.AfterFunc(ctx, func() { c.end(cmd) })
		err := cmd.Wait()
		stop()
		done <- err
	}()
	err := <-done
	w.Close()
	<-read
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return err
}

// end asks the process to end, and kills it when it does not. A killed process cannot refuse, so Wait
// returns.
func (c *Process) end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	// The timer's function does nothing when the process is gone: os.Process knows that it was waited for.
	time.AfterFunc(c.Grace, func() { _ = cmd.Process.Kill() })
}

// read passes lines on. A line that is too long is cut, never a reason to stop reading: the process would
// block on its own log.
func (c *Process) read(r io.Reader) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			c.Line(string(trimNewline(line)))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}
