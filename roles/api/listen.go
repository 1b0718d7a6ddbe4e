package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// socketMode lets in the server's user and group: root, or the group that the service runs with.
	socketMode = 0o660
	// maxConns bounds the clients of one socket: operators, their scripts and a few followers.
	maxConns = 512
	// maxSocketPath is what sockaddr_un holds (unix(7)), without the final NUL.
	maxSocketPath = 107
)

// Sockets are what a Server answers on. Serve closes them.
type Sockets struct{ unix, tcp, secure net.Listener }

// Listen opens the unix socket and the TCP address; either may be "". A socket file that nobody answers on is
// removed; one that somebody answers on is an error that wraps fs.ErrExist, and so is an address in use.
//
// Without a token the TCP address must be a loopback one; with one, another address needs conf, its TLS
// configuration (nil means plain HTTP).
func (s *Server) Listen(socket, addr string, conf *tls.Config) (*Sockets, error) {
	if addr != "" {
		if err := checkListen(addr, s.Token, conf != nil); err != nil {
			return nil, err
		}
	}
	socks := &Sockets{}
	if socket != "" {
		l, err := listenUnix(socket)
		if err != nil {
			return nil, err
		}
		socks.unix = netutil.LimitListener(l, maxConns)
	}
	if addr != "" {
		l, err := listenTCP(addr, "api.listen")
		if err != nil {
			_ = socks.Close()
			return nil, err
		}
		socks.tcp = netutil.LimitListener(l, maxConns)
		if conf != nil {
			socks.tcp = tls.NewListener(socks.tcp, conf)
		}
	}
	return socks, nil
}

// ListenSecure opens one more TCP address, for HTTPS with cert: any address, as the server has a token. An address in use
// is an error that wraps fs.ErrExist; the other sockets stay open.
func (s *Server) ListenSecure(socks *Sockets, addr string, cert tls.Certificate) error {
	if err := checkListen(addr, s.Token, true); err != nil {
		return err
	}
	l, err := listenTCP(addr, "api.secure")
	if err != nil {
		return err
	}
	// Browsers older than TLS 1.3 could not show the page.
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	socks.secure = tls.NewListener(netutil.LimitListener(l, maxConns), conf)
	return nil
}

// Close closes the sockets, for when Serve is never called.
func (s *Sockets) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.unix, s.tcp, s.secure} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// Addr is the TCP address that was opened; nil without one.
func (s *Sockets) Addr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// SecureAddr is the address for HTTPS that was opened; nil without one.
func (s *Sockets) SecureAddr() net.Addr {
	if s.secure == nil {
		return nil
	}
	return s.secure.Addr()
}

// checkListen refuses to offer the API to other machines in clear or to everybody.
func checkListen(addr, token string, secure bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("api: listen %q is not host:port: %w", addr, fs.ErrInvalid)
	}
	a, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && a.IsLoopback() || token != "" && secure {
		return nil
	}
	return fmt.Errorf("api: listen %q would let other machines in without a token and TLS: "+
		"use a loopback address such as 127.0.0.1:8081: %w", addr, fs.ErrInvalid)
}

// listenTCP opens the address that the configuration has at key.
func listenTCP(addr, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("api: address %s is in use by another program (ss -ltnp says which): "+
			"stop it or choose another %s: %w", addr, key, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("api: listen: %w", err)
	}
	return l, nil
}

func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("api: socket path %q is longer than %d bytes: choose a shorter api.socket: %w",
			path, maxSocketPath, fs.ErrInvalid)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("api: the socket's directory: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("api: socket: %w", err)
	}
	// Until here the umask held; the usual 022 lets nobody but the owner connect.
	if err := os.Chmod(path, socketMode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("api: socket: %w", err)
	}
	return l, nil
}

// removeStale removes the socket of a server that was killed: a file that refuses connections.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("api: socket: %w", err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("api: %s exists and is not a socket: move it away or choose another api.socket: %w",
			path, fs.ErrExist)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("api: a server answers on %s already: stop it or choose another api.socket: %w",
			path, fs.ErrExist)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("api: socket: %w", err)
	}
	return os.Remove(path)
}
