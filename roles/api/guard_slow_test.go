package api

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStrangersHoldNoConnection: who has no token is gone soon, whether it sends too slowly or takes nothing.
func TestStrangersHoldNoConnection(t *testing.T) {
	for name, head := range map[string]string{
		"a body that is refused":        "POST /v1/apply HTTP/1.1\r\nHost: rack\r\nContent-Length: 10\r\n\r\n",
		"a body for the page":           "GET / HTTP/1.1\r\nHost: rack\r\nContent-Length: 10\r\n\r\n",
		"a body from another origin":    "POST /v1/apply HTTP/1.1\r\nHost: rack\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 10\r\n\r\n",
		"an answer that nobody takes":   "GET /page/main.js HTTP/1.1\r\nHost: rack\r\n\r\n",
		"a refusal that nobody takes":   "GET /v1/nodes HTTP/1.1\r\nHost: rack\r\n\r\n",
		"a body for what is open to it": "GET /v1/healthz HTTP/1.1\r\nHost: rack\r\nContent-Length: 10\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l, done := pipes{conns: make(chan net.Conn), done: make(chan struct{})}, make(chan error, 1)
				l.close = sync.OnceFunc(func() { close(l.done) })
				s := &Server{Token: "s3cret"}
				go func() { done <- s.Serve(ctx, &Sockets{secure: l}) }()
				client, server := net.Pipe()
				l.conns <- server
				if _, err := io.WriteString(client, head); err != nil {
					t.Fatal(err)
				}
				slow := strings.Contains(name, "nobody takes")
				if slow {
					time.Sleep(2 * writeWait)
				}
				_ = client.SetReadDeadline(time.Now().Add(2*bodyTimeout + idleTimeout))
				b, err := io.ReadAll(client)
				if err != nil || slow && len(b) > 0 {
					t.Errorf("%d bytes, %v: the connection was held", len(b), err)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// served has s answer on a unix socket in memory, until the test ends, and gives a connection to it.
func served(t *testing.T, s *Server) net.Conn {
	ctx, cancel := context.WithCancel(t.Context())
	l, done := pipes{conns: make(chan net.Conn), done: make(chan struct{})}, make(chan error, 1)
	l.close = sync.OnceFunc(func() { close(l.done) })
	go func() { done <- s.Serve(ctx, &Sockets{unix: l}) }()
	client, server := net.Pipe()
	l.conns <- server
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return client
}

// TestArchiveThatNobodyTakes ends: its pair could make no other backup.
func TestArchiveThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		conn := served(t, &Server{Copies: endlessCopies(ended)})
		if _, err := io.WriteString(conn, "POST /v1/storage/storage/backup HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it was written though nobody took it")
			}
		case <-time.After(time.Hour):
			t.Error("it waits for its reader after an hour")
			_ = conn.Close()
		}
	})
}

// endlessCopies writes archives without an end, and tells what stopped it.
type endlessCopies chan error

func (c endlessCopies) Backup(_ context.Context, _ string, _ BackupRequest, w io.Writer) (err error) {
	for err == nil {
		_, err = w.Write(make([]byte, 64<<10))
	}
	c <- err
	return err
}

func (endlessCopies) Restore(context.Context, string, RestoreRequest, io.Reader) (string, error) {
	return "", nil
}
