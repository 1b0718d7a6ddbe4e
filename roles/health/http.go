package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"muster/roles"
)

// maxBody is how much of a page is read, in bytes: enough that a small one ends well, too little to hurt.
const maxBody = 64 << 10

// maxInterim is how many interim answers (RFC 9110 §15.2) may come before the final one.
const maxInterim = 5

// checkHTTP fetches a page. A status of 200–399 passes; a redirect is an answer, and is not followed: where it
// leads to says nothing of this node. It speaks over a connection of its own instead of an http.Client, which
// logs on its own account when a server of another protocol greets it.
func checkHTTP(ctx context.Context, c roles.HTTPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 80)
	if err != nil {
		return err
	}
	req, err := httpRequest(ctx, c, target)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.String())
	if err != nil {
		return explain(err, target, timeout)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	resp, err := exchange(conn, req)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &explained{fmt.Sprintf("%s closed the connection before it answered", target), err}
	case err != nil:
		if e := explain(err, target, timeout); e != err {
			return e
		}
		return fmt.Errorf("%s: no HTTP answer: %w", req.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	// A server that dies in the middle of its page does not work.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)); err != nil {
		return &explained{fmt.Sprintf("%s answers %s, but its page breaks off", req.URL, resp.Status),
			explain(err, target, timeout)}
	}
	return nil
}

// exchange sends a request and reads the head of its final answer.
func exchange(conn net.Conn, req *http.Request) (*http.Response, error) {
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	// The answer's head is bounded, as its body is.
	r := bufio.NewReader(io.LimitReader(conn, 2*maxBody))
	for range maxInterim {
		resp, err := http.ReadResponse(r, req)
		if err != nil || resp.StatusCode < 100 || resp.StatusCode > 199 {
			return resp, err
		}
	}
	return nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// httpRequest makes the request of a check.
func httpRequest(ctx context.Context, c roles.HTTPCheck, target netip.AddrPort) (*http.Request, error) {
	host := target.String()
	if target.Port() == 80 {
		host = strings.TrimSuffix(host, ":80")
	}
	path := c.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w: %w", c.Path, err, fs.ErrInvalid)
	}
	req.Host = c.Host
	req.Close = true
	req.Header.Set("User-Agent", "muster-health")
	return req, nil
}
