package pair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Healthy says why this half is not well, "" when it is. A half that waits is well: the other one, or its disk, is what
// is not.
func (d *Daemon) Healthy() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.report.Phase == PhaseRefused {
		return d.report.Why
	}
	return ""
}

// ServeHealth answers health checks on a listener until ctx ends: 200, or 503 with a sentence.
func (d *Daemon) ServeHealth(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 4 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if why := d.Healthy(); why != "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, why)
				return
			}
			fmt.Fprintln(w, "ok")
		}),
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
}
