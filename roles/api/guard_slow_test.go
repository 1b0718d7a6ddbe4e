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
