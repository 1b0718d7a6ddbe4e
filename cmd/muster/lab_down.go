package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"muster/roles/api"
	"muster/tests/rack"
)

func (p *program) newLabDownCommand() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "stop the lab and everything in it", Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab := p.labClient()
			if err := stopLab(cmd.Context(), lab.Socket); err != nil {
				return labError(lab, err)
			}
			fmt.Fprintln(p.stdout, "the lab is down")
			return nil
		},
	}
}

// stopLab interrupts the process that serves the lab, as Ctrl-C in its terminal does, and waits for its end.
func stopLab(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	pid, err := peer(conn.(*net.UnixConn))
	if err != nil {
		return fmt.Errorf("lab: who serves %s: %w", socket, err)
	}
	// A pidfd is this process and no other that gets its number later.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("lab: process %d: %w", pid, err)
	}
	proc := os.NewFile(uintptr(fd), "pidfd")
	defer proc.Close()
	if err := unix.PidfdSendSignal(fd, syscall.SIGINT, nil, 0); err != nil {
		return fmt.Errorf("lab: stopping process %d: %w", pid, err)
	}
	for ctx.Err() == nil {
		// A pidfd is readable when its process has ended; 1 s is how soon Ctrl-C is heard.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lab: waiting for process %d: %w", pid, err)
		}
	}
	return ctx.Err()
}

// peer is the process at the other end, as the kernel knows it (unix(7), SO_PEERCRED).
func peer(c *net.UnixConn) (pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, cerr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// labError says that the lab is not up, where that is what err means.
func labError(lab rack.LabClient, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)) {
		return noLab{lab.Socket}
	}
	return err
}

// noLab is an unreachable lab.
type noLab struct{ socket string }

func (e noLab) Error() string {
	return "no lab answers on " + e.socket + ": start one with muster lab up"
}
func (noLab) Unwrap() error { return api.ErrUnreachable }
