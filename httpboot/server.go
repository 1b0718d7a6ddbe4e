package httpboot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Server answers machines over HTTP. Set the fields, then Listen, then Serve.
type Server struct {
	// Director decides what machines boot. Required.
	Director Director
	// Images opens kernels and initrds. Required.
	Images Images
	// NBP holds network boot programs (snponly.efi) for firmware that fetches them by HTTP, under /nbp/.
	// Nil means none. Only its top directory is served.
	NBP fs.FS
	// Files are the operator's own, under /files/. Nil means none. Use os.Root's FS: a symlink must
	// not lead out.
	Files fs.FS
	// Templates override the built-in scripts by name: boot.ipxe, wait.ipxe, local.ipxe, chain.ipxe,
	// retry.ipxe. Nil means none. Any other *.ipxe file is an error, as it is most likely a typo. They
	// are text/template with the fields .MAC .UUID .Arch .Platform .Manufacturer .Product .Serial .Asset,
	// .Base (this server's URL), .Again (asks for this machine's script again), .Title .Message .Retry
	// (seconds), .Kernel .Initrd (URLs) and .Cmdline, each safe to print in one line of a script.
	Templates fs.FS
	// MaxConns bounds the connections that are open, those over TLS apart from the others; zero means 8192.
	// One more is closed at once, and iPXE tries again.
	MaxConns int
	// Grace is how long a download may go on after Serve's ctx ended; zero means 5 s.
	Grace time.Duration
	// Observe is told of each download when it is over. It must return soon. Nil means nobody is told.
	Observe func(ctx context.Context, f Fetch)
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
	// Log; nil is silent.
	Log *slog.Logger

	once    sync.Once
	err     error // of setup
	scripts *scripts
	metrics *metrics
	// conns are those of Listen, secure those of ListenSecure.
	conns, secure connections
}

// Limits of a client. Downloads get an hour: 40 MB over a slow link, and an end for one that stopped
// reading but keeps its connection.
const (
	headerTimeout   = 10 * time.Second
	bodyTimeout     = 30 * time.Second
	answerTimeout   = 60 * time.Second // more than agent.PollHold
	pairTimeout     = 90 * time.Second // more than pair.FenceTime
	downloadTimeout = time.Hour
	idleTimeout     = 60 * time.Second
	headerSize      = 16 << 10
	// deadPeer is how long sent bytes may stay unacknowledged: the time in which a machine that was
	// switched off in mid-download frees its connection.
	deadPeer = 60 * time.Second
)

// setup checks the fields and parses the scripts, once.
func (s *Server) setup() error {
	s.once.Do(func() {
		if s.Director == nil || s.Images == nil {
			s.err = fmt.Errorf("httpboot: Director and Images are required: %w", fs.ErrInvalid)
			return
		}
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		s.metrics = newMetrics(s.Metrics, func() float64 { return float64(s.conns.open.Load() + s.secure.open.Load()) })
		s.scripts, s.err = parseScripts(s.Templates)
	})
	return s.err
}

// Listen opens addr (":8080"), after it checked the fields and scripts: a wrong template is an error at
// the start and not at three in the morning.
func (s *Server) Listen(addr string) (net.Listener, error) { return s.listen(addr, "httpboot.listen") }

// listen opens addr, which setting says.
func (s *Server) listen(addr, setting string) (net.Listener, error) {
	if err := s.setup(); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{
		KeepAlive: 15 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			cerr := c.Control(func(fd uintptr) { // accepted sockets inherit it
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
			})
			return errors.Join(cerr, err)
		},
	}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("httpboot: address %s is in use by another program (ss -ltnp says which): "+
			"stop it or choose another %s: %w", addr, setting, syscall.EADDRINUSE)
	}
	if err != nil {
		return nil, fmt.Errorf("httpboot: %w", err)
	}
	return ln, nil
}

// Serve answers on ln, which it closes, until ctx ends; long polls end at once then, downloads have
// Grace. It returns nil on a clean stop. Several may run at the same time, each with a listener of its own.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	h, err := s.Handler()
	if err != nil {
		ln.Close()
		return err
	}
	conns := &s.conns
	if _, ok := ln.(*secureListener); ok {
		conns = &s.secure
	}
	srv := &http.Server{
		Handler: s.marked(conns, h), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerSize,
		ConnState: s.connState(conns), ConnContext: connContext,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	go func() { // ends when ctx does, or Serve below
		defer close(stopped)
		<-ctx.Done()
		grace := s.Grace
		if grace == 0 {
			grace = 5 * time.Second
		}
		gctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if srv.Shutdown(gctx) != nil {
			srv.Close()
		}
	}()
	err = srv.Serve(ln)
	if ctx.Err() == nil {
		srv.Close()
		return fmt.Errorf("httpboot: %w", err)
	}
	<-stopped
	return nil
}
