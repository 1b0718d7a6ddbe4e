package httpboot

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// connections are the open ones. (A limiting listener would hide the TCP connection from net/http, and
// with it sendfile.)
type connections struct {
	open atomic.Int64
	// served maps a net.Conn to an *atomic.Bool: whether one of its requests came to a handler.
	served sync.Map
}

// servedKey is the context's key of that *atomic.Bool.
type servedKey struct{}

// connState counts connections, closes those above MaxConns, and counts those that said something which is
// not HTTP: net/http answers them by itself.
func (s *Server) connState(conns *connections) func(net.Conn, http.ConnState) {
	limit := int64(cmp.Or(s.MaxConns, 8192))
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if conns.open.Add(1) > limit {
				s.metrics.reject("connection", "too many")
				c.Close()
			}
		case http.StateActive:
			// Some bytes came; whether they are a request, the handler marks.
			conns.served.LoadOrStore(c, new(atomic.Bool))
		case http.StateClosed, http.StateHijacked:
			conns.open.Add(-1)
			if v, said := conns.served.LoadAndDelete(c); said && !v.(*atomic.Bool).Load() {
				s.metrics.reject("connection", "garbage")
			}
		}
	}
}

// connContext lets a request find its connection.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, servedKey{}, c)
}

// marked notes that a connection speaks HTTP. It leaves the ResponseWriter as it is.
func (s *Server) marked(conns *connections, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(servedKey{}).(net.Conn); ok {
			if v, ok := conns.served.Load(c); ok {
				v.(*atomic.Bool).Store(true)
			}
		}
		next.ServeHTTP(w, r)
	})
}
