package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{} // closed by close
	close func()
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error { p.close(); return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestSlowBody: a client that promises a body and sends none is let go, and so is one that sends no header.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		l.close = sync.OnceFunc(func() { close(l.done) })
		s := &Server{Rack: declared(t)}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, &Sockets{unix: l}) }()
		dial := func() net.Conn {
			a, b := net.Pipe()
			l.conns <- b
			return a
		}

		began, conn := time.Now(), dial()
		go func() {
			_, _ = io.WriteString(conn, "POST /v1/nodes/web-01/assign HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusRequestTimeout || time.Since(began) != bodyTimeout {
			t.Errorf("body: status %d after %v", resp.StatusCode, time.Since(began))
		}
		_ = conn.Close()

		began, conn = time.Now(), dial()
		go func() { _, _ = io.WriteString(conn, "GET /v1/nodes HTTP/1.1\r\nHost: x\r\n") }()
		if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(began) != headerTimeout {
			t.Errorf("header: closed after %v, %v", time.Since(began), err)
		}
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
