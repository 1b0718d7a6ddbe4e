package httpboot

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"muster/httpboot/agent"
)

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in a minute")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestListenSaysWhichPort(t *testing.T) {
	s := &Server{Director: &fixedDirector{}, Images: dirImages("")}
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = s.Listen(ln.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("second Listen: %v", err)
	}
}

// Serve ends cleanly: an agent in its long poll is told at once, and asks the next server.
func TestServeStops(t *testing.T) {
	polling := make(chan struct{})
	d := &fixedDirector{poll: func(ctx context.Context, _ agent.Poll) (agent.Reply, error) {
		close(polling)
		<-ctx.Done()
		return agent.Reply{}, ctx.Err()
	}}
	s := &Server{Director: d, Images: dirImages("")}
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	status := make(chan int, 1)
	go func() {
		res, err := http.Post("http://"+ln.Addr().String()+agent.PathSpec, "application/json", strings.NewReader("{}"))
		if err != nil {
			status <- 0
			return
		}
		res.Body.Close()
		status <- res.StatusCode
	}()
	<-polling
	cancel()
	if got := <-status; got != http.StatusServiceUnavailable {
		t.Errorf("the poll got status %d", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if n := s.conns.open.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

// A closed listener is Serve's error, not a clean stop.
func TestServeFails(t *testing.T) {
	s := &Server{Director: &fixedDirector{}, Images: dirImages("")}
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.Serve(ctx, ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestMaxConns(t *testing.T) {
	s := &Server{Director: &fixedDirector{}, Images: dirImages(""), MaxConns: 2}
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	defer func() { cancel(); <-done }()
	ask := func() (net.Conn, string) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET /ipxe HTTP/1.1\r\nHost: h\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return c, line
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	a, line := ask()
	if line != ok {
		t.Errorf("first: %q", line)
	}
	b, line := ask()
	defer b.Close()
	if line != ok {
		t.Errorf("second: %q", line)
	}
	c, line := ask()
	c.Close()
	if line != "" {
		t.Errorf("third: %q", line)
	}
	a.Close()
	eventually(t, func() bool { return s.conns.open.Load() < 2 })
	d, line := ask()
	d.Close()
	if line != ok {
		t.Errorf("when one has left: %q", line)
	}
}

// What is not HTTP is answered by net/http, and counted here; what says nothing, or is fine, is not.
func TestGarbageConnections(t *testing.T) {
	s := &Server{Director: &fixedDirector{}, Images: dirImages("")}
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	for _, says := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH-2.0-x\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
		"GET /ipxe HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /ipxe HTTP/1.1\r\nX: " + strings.Repeat("x", 2*headerSize) + "\r\n\r\n",
		"", "GET /ipxe HTTP/1.0\r\n\r\n",
	} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, says)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := value(t, s.metrics.rejected.WithLabelValues("connection", "garbage")); got != 5 {
		t.Errorf("%v counted, want 5", got)
	}
}

// pipeListener hands out one end of a pipe, so that a client's slowness costs no time of the test.
type pipeListener struct {
	conns chan net.Conn
	once  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.once:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.once:
	default:
		close(l.once)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 77, 0, 1), Port: 8080} }

// Clients that dawdle lose their connection: with a header, with a body, with doing nothing, and with
// reading an answer.
func TestSlowClients(t *testing.T) {
	for name, tc := range map[string]struct {
		says string
		read bool
		want time.Duration
	}{
		"no header":  {"GET /ipxe HT", true, headerTimeout},
		"no body":    {"POST " + agent.PathHello + " HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{", true, bodyTimeout},
		"idle":       {"GET /ipxe HTTP/1.1\r\nHost: h\r\n\r\n", true, idleTimeout},
		"no reading": {"GET /ipxe HTTP/1.1\r\nHost: h\r\n\r\n", false, answerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Director: &fixedDirector{}, Images: dirImages("")}
				ln := &pipeListener{make(chan net.Conn), make(chan struct{})}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- s.Serve(ctx, ln) }()
				client, server := net.Pipe()
				start := time.Now()
				ln.conns <- server
				io.WriteString(client, tc.says)
				if tc.read {
					io.Copy(io.Discard, client)
				} else {
					time.Sleep(2 * answerTimeout)
				}
				synctest.Wait()
				if n := s.conns.open.Load(); n != 0 {
					t.Errorf("after %v the connection is still open", time.Since(start))
				}
				if took := time.Since(start); tc.read && (took < tc.want || took > tc.want+10*time.Second) {
					t.Errorf("closed after %v, want %v", took, tc.want)
				}
				client.Close()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
