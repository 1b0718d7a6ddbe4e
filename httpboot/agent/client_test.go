package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What people read when a server does not answer as it should, over a real connection.
func TestClientErrors(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	free.Close()
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/hang":
			<-stop
		case "/403":
			http.Error(w, "another boot of this machine has begun", http.StatusForbidden)
		case "/404":
			http.Error(w, "", http.StatusNotFound)
		case "/500":
			http.Error(w, strings.Repeat("x", 10_000), http.StatusInternalServerError)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"wait":`)
		case "/text":
			io.WriteString(w, "<html>")
		case "/big":
			w.Write(make([]byte, replySize+2))
		}
	}))
	defer srv.Close()
	defer close(stop)
	for _, tc := range []struct {
		server, path, want string
		kind               error
	}{
		{"http://" + nobody, "/", "http://" + nobody + ": dial tcp " + nobody + ": connect: connection refused", nil},
		{srv.URL, "/hang", "no answer in time", nil},
		{srv.URL, "/403", "the server says: another boot of this machine has begun", fs.ErrPermission},
		{srv.URL, "/404", "the server says: ", fs.ErrNotExist},
		{srv.URL, "/500", "status 500: xxx", nil},
		{srv.URL, "/cut", "unexpected EOF", nil},
		{srv.URL, "/text", "the reply is not what this agent understands", nil},
		{srv.URL, "/big", "the reply is larger than 16 MiB", nil},
	} {
		timeout := 30 * time.Second
		if tc.path == "/hang" {
			timeout = 100 * time.Millisecond
		}
		c := &client{http: httpClient(), servers: []string{tc.server}}
		var reply Reply
		err := c.call(t.Context(), timeout, tc.path, Poll{}, &reply)
		if err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 400 {
			t.Errorf("%s: %v, want %q", tc.path, err, tc.want)
		}
		if tc.kind != nil && !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v is not %v", tc.path, err, tc.kind)
		}
		c.http.CloseIdleConnections()
	}
}

// The server that answered last is asked first.
func TestClientKeepsItsServer(t *testing.T) {
	asked := map[string]int{}
	up := map[string]bool{"b": true}
	c := &client{servers: []string{"http://a", "http://b"}, http: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked[r.URL.Host]++
		if !up[r.URL.Host] {
			return nil, errors.New("down")
		}
		return &http.Response{StatusCode: 204, Body: http.NoBody, Request: r}, nil
	})}}
	for range 3 {
		if err := c.call(t.Context(), time.Minute, "/", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	up["a"], up["b"] = true, false
	if err := c.call(t.Context(), time.Minute, "/", nil, nil); err != nil || c.server() != "http://a" {
		t.Errorf("%v, at %s", err, c.server())
	}
	if asked["a"] != 2 || asked["b"] != 4 {
		t.Errorf("asked %v", asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	up["a"] = false
	if err := c.call(ctx, time.Minute, "/", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A call that is under way when the machine changes its address ends, and the next one has a connection of
// its own.
func TestClientMoved(t *testing.T) {
	asked, stop := make(chan string, 2), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked <- r.RemoteAddr
		if r.URL.Path == "/hang" {
			<-stop
		}
	}))
	defer srv.Close()
	defer close(stop)
	c := &client{http: httpClient(), servers: []string{srv.URL}}
	defer c.http.CloseIdleConnections()
	done := make(chan error)
	go func() { done <- c.call(t.Context(), time.Minute, "/hang", nil, nil) }()
	<-asked
	c.moved()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the call under way: %v", err)
	}
	var from [2]string
	for i := range from {
		if err := c.call(t.Context(), time.Minute, "/", nil, nil); err != nil {
			t.Fatal(err)
		}
		from[i] = <-asked
		c.moved()
	}
	if from[0] == from[1] {
		t.Errorf("both calls came from %s: the old connection was used again", from[0])
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A boot server that is killed in mid-poll and comes back: the same boot goes on. Real connections.
func TestServerRestarts(t *testing.T) {
	polling := make(chan struct{}, 10)
	d := &fakeDirector{t: t, replies: []Reply{{Wait: "w"}, {Spec: webSpec()}}}
	first := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == PathSpec {
			io.Copy(io.Discard, r.Body)
			polling <- struct{}{}
			<-r.Context().Done()
			return
		}
		d.ServeHTTP(w, r)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	srv := &http.Server{Handler: first}
	go srv.Serve(ln)
	root := machineTree(t)
	write(t, root, map[string]string{"proc/cmdline": strings.ReplaceAll(cmdlineOfWeb, "http://one,http://two", "http://"+addr)})
	k := &fakeKernel{}
	a, scr := newAgent(root, k, nil)
	a.HTTP = nil // the agent's own
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context()) }()
	<-polling
	srv.Close()
	if ln, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	srv = &http.Server{Handler: d}
	go srv.Serve(ln)
	defer srv.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d.wantSteps("hello", "network", "root", "mount", "files", "switch-root")
	scr.shows(t, "no boot server: http://"+addr+": EOF; again in ")
}
