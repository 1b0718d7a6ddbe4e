package rack

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed holder.sh
var holderScript string

// holder is the process that keeps a rack's namespaces alive and cleans up when the rack's maker dies.
type holder struct {
	cmd *exec.Cmd
	// life is the pipe whose end of file tells the holder to clean up and go. Only this process has it.
	life io.Closer
	// net and mnt are the namespaces: held open, they cannot be confused with those of a later process
	// that happens to get the holder's pid.
	net, mnt *os.File
	// netns is the network namespace's name in /proc/PID/ns/net.
	netns string
}

// startHolder returns when the namespaces are ready. When it fails, nothing is left.
func startHolder(ctx context.Context, dir, name string) (_ *holder, err error) {
	script := filepath.Join(dir, "holder.sh")
	if err := os.WriteFile(script, []byte(holderScript), 0o600); err != nil {
		return nil, fmt.Errorf("rack: start the holder: %w", err)
	}
	cmd := exec.Command("/bin/sh", script, dir)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), rackEnv+"="+name)
	// A session of its own: Ctrl-C and the hang-up of a terminal go to the rack's maker, which decides.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Setsid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("rack: start the holder: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("rack: start the holder: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("rack: make namespaces: %w", err)
	}
	h := &holder{cmd: cmd, life: life}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if line == "ready\n" {
		err = h.open()
	} else {
		err = fmt.Errorf("rack: prepare namespaces: %w", context.Cause(ctx))
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		h.closeFiles()
		if ctx.Err() == nil && line == "" {
			err = fmt.Errorf("rack: prepare namespaces: %s", strings.TrimSpace(stderr.String()))
		}
		return nil, err
	}
	return h, nil
}

// open takes hold of the namespaces.
func (h *holder) open() (err error) {
	ns := filepath.Join("/proc", fmt.Sprint(h.cmd.Process.Pid), "ns")
	if h.netns, err = os.Readlink(filepath.Join(ns, "net")); err != nil {
		return fmt.Errorf("rack: namespaces: %w", err)
	}
	if h.net, err = os.Open(filepath.Join(ns, "net")); err != nil {
		return fmt.Errorf("rack: namespaces: %w", err)
	}
	if h.mnt, err = os.Open(filepath.Join(ns, "mnt")); err != nil {
		return fmt.Errorf("rack: namespaces: %w", err)
	}
	return nil
}

// close lets the holder clean up, waits for its end and lets the namespaces go.
func (h *holder) close() {
	h.life.Close()
	h.cmd.Wait()
	h.closeFiles()
}

func (h *holder) closeFiles() {
	h.life.Close()
	for _, f := range []*os.File{h.net, h.mnt} {
		if f != nil {
			f.Close()
		}
	}
}

// path is the name under which other processes reach an open namespace.
func nsPath(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
