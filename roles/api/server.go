package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"muster/images"
	"muster/roles"
	"muster/roles/api/page"
)

// Limits of the HTTP server. A machine that is slower is cut off.
const (
	// headerTimeout is for a request's header.
	headerTimeout = 10 * time.Second
	// idleTimeout closes a kept connection on which nothing is asked.
	idleTimeout = 2 * time.Minute
	// stopTimeout is what a request may take to end when the server stops.
	stopTimeout = 5 * time.Second
)

// Server is the operators' API. Rack is required; the zero values of the rest are documented with them.
type Server struct {
	// Rack is what the API is about. Required.
	Rack Rack
	// Images keeps what was built; nil means that there are none.
	Images Images
	// Build builds and publishes the image of a role and reports on its way, possibly from several
	// goroutines; cancelling ctx leaves nothing. Nil means that this server cannot.
	Build func(ctx context.Context, role string, progress func(BuildProgress)) (images.Image, error)
	// Import makes an image of something that exists already (recipe.From), and reports like Build does. Nil
	// means that this server cannot.
	Import func(ctx context.Context, name string, recipe images.Recipe, progress func(BuildProgress)) (images.Image, error)
	// Leases gives the current leases by address; nil means none.
	Leases func(ctx context.Context) ([]LeaseView, error)
	// Leasing changes leases; nil means that this server cannot.
	Leasing Leasing
	// Trace watches the DHCP packets of machines, of all where there are none; nil means that this server cannot.
	Trace func(macs []roles.MAC) (Watch, error)
	// Copies makes backups of storage pairs; nil means that this server cannot.
	Copies Copies
	// Doctor examines the running set-up; nil means that this server cannot.
	Doctor func(ctx context.Context) ([]Finding, error)
	// Version is what /v1/version says; "" is empty there too. Started is when the program began.
	Version string
	Started time.Time
	// Token lets a client in on the TCP address (Authorization: Bearer …, RFC 6750 §2.1), except for
	// metrics, healthz and the page's files, which are open; "" means that everybody on this machine may use it, and that it
	// is a loopback address. The unix socket's permissions are its own.
	Token string
	// Metrics takes the metrics; nil means none.
	Metrics prometheus.Registerer
	// Gatherer has what /metrics shows; nil means that there are no metrics.
	Gatherer prometheus.Gatherer
	// Log gets one line for every change and every internal error; nil is silent.
	Log *slog.Logger
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// Serve answers on the sockets until ctx ends, and returns nil then. Requests that wait or stream end with
// it; others get a few seconds. The sockets are closed when it returns.
func (s *Server) Serve(ctx context.Context, socks *Sockets) error {
	h := s.Handler()
	g, ctx := errgroup.WithContext(ctx)
	if socks.unix != nil {
		s.serve(ctx, g, socks.unix, h)
	}
	if socks.tcp != nil {
		s.serve(ctx, g, socks.tcp, s.guard(h))
	}
	if socks.secure != nil {
		s.serve(ctx, g, socks.secure, s.guard(h))
	}
	return g.Wait()
}

// serve starts two goroutines: one accepts until the other, when ctx ends, shuts the server down.
func (s *Server) serve(ctx context.Context, g *errgroup.Group, l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log().Handler(), slog.LevelDebug),
	}
	g.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close()
		}
		return nil
	})
}

// Handler is the API and the page without their sockets.
func (s *Server) Handler() http.Handler {
	m := newMetrics(s.Metrics)
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.method+" "+rt.path, s.handler(rt, m))
	}
	pages := page.Handler()
	for _, at := range page.Paths() {
		if at == page.Root {
			at += "{$}" // and nothing below it
		}
		mux.Handle("GET "+at, pages)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			noRoute(w, r, mux)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// handler answers one route: errors as JSON, counted and logged.
func (s *Server) handler(rt route, m *metrics) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		status := http.StatusOK
		err := readBody(w, r, rt)
		if err == nil {
			err = rt.serve(w, r)
		}
		if err != nil {
			status = writeError(w, err)
		}
		m.answered(rt, status, time.Since(began))
		switch log := s.log().With("method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr); {
		case status == http.StatusInternalServerError && r.Context().Err() == nil:
			log.Error("api: request failed", "err", err)
		case err != nil:
			log.Debug("api: request refused", "err", err)
		case rt.method != http.MethodGet:
			log.Info("api: changed")
		}
	})
}

// noRoute answers what the mux has no route for, with its status and our JSON.
func noRoute(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	rec := &statusRecorder{header: w.Header()}
	mux.ServeHTTP(rec, r)
	e := &Error{Kind: "not-exist", Message: "there is no " + strconv.Quote(r.URL.Path) + " (see /v1/openapi.yaml)"}
	if rec.status == http.StatusMethodNotAllowed {
		e = &Error{Kind: "invalid", Message: r.URL.Path + " takes " + w.Header().Get("Allow") + ", not " + r.Method}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rec.status)
	_ = json.NewEncoder(w).Encode(e)
}

// statusRecorder keeps what the mux would have answered: the status and the headers.
type statusRecorder struct {
	header http.Header
	status int
}

func (r *statusRecorder) Header() http.Header         { return r.header }
func (r *statusRecorder) WriteHeader(status int)      { r.status = status }
func (r *statusRecorder) Write(b []byte) (int, error) { return io.Discard.Write(b) }
