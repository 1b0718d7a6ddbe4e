package nfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"muster/images/child"
)

// rpcbindSocket is where programs of this machine register; libtirpc knows no other path.
const rpcbindSocket = "/run/rpcbind.sock"

// portmapper is rpcbind as our child. nfs-ganesha does not start without one, although no client of ours
// asks it. So it gets sockets on loopback only: an open portmapper is a well-known amplifier of attacks,
// and rpcbind's own option for that (-h) crashes in the version that Debian 12 ships.
type portmapper struct {
	files []*os.File // in the order in which they are passed on; nil when another rpcbind answers
}

// portWait bounds the wait for a port that the child of a server had which was killed just now.
const portWait = 3 * time.Second

// listenRpcbind opens the sockets, or finds that somebody else's rpcbind answers.
func listenRpcbind() (*portmapper, error) {
	for deadline := time.Now().Add(portWait); ; time.Sleep(50 * time.Millisecond) {
		if answers("unix", rpcbindSocket) {
			return &portmapper{}, nil
		}
		p := &portmapper{}
		err := p.open()
		if err == nil {
			return p, nil
		}
		p.close()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return nil, fmt.Errorf("nfs: rpcbind: %w", err)
		}
	}
}

// open opens the sockets. Who has the port has the right to the path.
func (p *portmapper) open() error {
	if err := p.add("tcp4", "127.0.0.1:111"); err != nil {
		return err
	}
	// A socket file that nobody answers on is left from a crash.
	_ = os.Remove(rpcbindSocket)
	if err := errors.Join(p.add("unix", rpcbindSocket), p.add("udp4", "127.0.0.1:111")); err != nil {
		return err
	}
	// Where there is no IPv6 these fail, and rpcbind opens none either.
	_, _ = p.add("tcp6", "[::1]:111"), p.add("udp6", "[::1]:111")
	return nil
}

func answers(network, address string) bool {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// add opens a socket and keeps its file.
func (p *portmapper) add(network, address string) error {
	var socket interface {
		File() (*os.File, error)
		Close() error
	}
	switch network {
	case "udp4", "udp6":
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		socket = c.(*net.UDPConn)
	default:
		l, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		if u, is := l.(*net.UnixListener); is {
			u.SetUnlinkOnClose(false)
			socket = u
		} else {
			socket = l.(*net.TCPListener)
		}
	}
	// File is a duplicate; the socket lives as long as it does.
	f, err := socket.File()
	if err == nil {
		p.files = append(p.files, f)
	}
	return errors.Join(err, socket.Close())
}

// rpcbindScript is the first process of rpcbind's PID namespace. rpcbind changes its user, and the kernel
// forgets Pdeathsig then (prctl(2)): without the namespace it would outlive us when we are killed.
const rpcbindScript = `trap 'kill $p; wait $p; exit 0' TERM
/bin/sh -c 'LISTEN_PID=$$ exec rpcbind -f' & p=$!
wait $p`

// command passes the sockets on as systemd does (sd_listen_fds(3)). LISTEN_PID has to be the id of the
// process itself, which only a shell can fill in between fork and exec.
func (p *portmapper) command() *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", rpcbindScript)
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+strconv.Itoa(len(p.files)))
	cmd.ExtraFiles = p.files
	return cmd
}

// serve runs rpcbind until ctx ends. While another one answers it only watches: that may be the one of a
// server that was just killed, in its last moment. Ganesha needs no restart when rpcbind had one: what was
// registered there nobody asks for.
func (p *portmapper) serve(ctx context.Context, log func(string, ...any)) {
	for p.files == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		if answers("unix", rpcbindSocket) {
			continue
		}
		ours, err := listenRpcbind()
		if err != nil {
			log("rpcbind is gone, and another cannot be started", "err", err)
			continue
		}
		p.files = ours.files
	}
	defer p.close()
	c := &child.Process{
		Command: p.command, Grace: 2 * time.Second, Namespace: true,
		Line:  func(s string) { log("rpcbind says", "line", s) },
		Ended: func(err error, again time.Duration) { log("rpcbind ended", "err", err, "again", again) },
	}
	c.Run(ctx)
}

// close frees the sockets and removes their files.
func (p *portmapper) close() {
	for _, f := range p.files {
		f.Close()
	}
	if p.files != nil {
		_ = os.Remove(rpcbindSocket)
		_ = os.Remove(filepath.Join(filepath.Dir(rpcbindSocket), "rpcbind.lock"))
	}
	p.files = nil
}
