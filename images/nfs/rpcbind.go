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
	"time"
)

// rpcbindSocket is where programs of this machine register; libtirpc knows no other path.
const rpcbindSocket = "/run/rpcbind.sock"

// portmapper is rpcbind as our child. nfs-ganesha does not start without one, although no client of ours
// asks it. So it gets sockets on loopback only: an open portmapper is a well-known amplifier of attacks,
// and rpcbind's own option for that (-h) crashes in the version that Debian 12 ships.
type portmapper struct {
	files []*os.File // in the order in which they are passed on; nil when another rpcbind answers
}

// listenRpcbind opens the sockets, or finds that somebody else's rpcbind answers.
func listenRpcbind() (*portmapper, error) {
	if answers("unix", rpcbindSocket) {
		return &portmapper{}, nil
	}
	// A socket file that nobody answers on is left from a crash.
	_ = os.Remove(rpcbindSocket)
	p := &portmapper{}
	err := errors.Join(p.add("unix", rpcbindSocket), p.add("tcp4", "127.0.0.1:111"), p.add("udp4", "127.0.0.1:111"))
	if err != nil {
		p.close()
		return nil, fmt.Errorf("nfs: rpcbind: %w", err)
	}
	// Where there is no IPv6 these fail, and rpcbind opens none either.
	_, _ = p.add("tcp6", "[::1]:111"), p.add("udp6", "[::1]:111")
	return p, nil
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

// command passes the sockets on as systemd does (sd_listen_fds(3)). LISTEN_PID has to be the id of the
// process itself, which only a shell can fill in between fork and exec.
func (p *portmapper) command() *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec rpcbind -f`)
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+strconv.Itoa(len(p.files)))
	cmd.ExtraFiles = p.files
	return cmd
}

// serve runs rpcbind until ctx ends; when another one answers it has nothing to do. Ganesha needs no
// restart when rpcbind had one: what was registered there nobody asks for.
func (p *portmapper) serve(ctx context.Context, log func(string, ...any)) {
	if p.files == nil {
		return
	}
	defer p.close()
	c := &child{
		command: p.command, grace: 2 * time.Second,
		line:  func(s string) { log("rpcbind says", "line", s) },
		ended: func(err error, again time.Duration) { log("rpcbind ended", "err", err, "again", again) },
	}
	c.run(ctx)
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
