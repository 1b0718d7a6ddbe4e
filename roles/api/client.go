package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Client calls a Server. Its errors wrap the io/fs error of the server's kind (see Error), ErrUnreachable
// when no server answers, or the context's error. Its methods may be called at the same time.
type Client struct {
	// base is the URL before /v1; where names the server in messages: a path or a URL.
	base, where string
	http        *http.Client
	// Token is sent to the server; "" means none.
	Token string
	// Patience is how long Follow, FollowBoot and WaitNode go on when the server that answered before is away:
	// it may be restarting. Zero means not at all.
	Patience time.Duration
}

// expectWait is how long an archive waits for the server to want it. Without, it would be sent at once, and a refusal
// that comes meanwhile may be lost with the connection.
const expectWait = 30 * time.Second

// Dial makes a client of the server on a unix socket. Nothing is connected yet.
func Dial(socket string) *Client {
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, ExpectContinueTimeout: expectWait}
	return &Client{base: "http://muster", where: socket, http: &http.Client{Transport: t}}
}

// DialURL makes a client of the server at a base URL: http://127.0.0.1:8081. Nothing is connected yet.
func DialURL(base string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a server (want http://HOST:PORT): %w", base, fs.ErrInvalid)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	// A proxy in the environment is for the world outside, not for this rack.
	t.Proxy = nil
	t.ExpectContinueTimeout = expectWait
	return &Client{base: strings.TrimRight(base, "/"), where: base, http: &http.Client{Transport: t}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// send makes a request and returns its answer, whose body the caller closes, when it is one of success. v is
// the body: nil, bytes, or a value that becomes JSON.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, v any) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	req.URL.RawQuery = q.Encode()
	if err := setBody(req, v); err != nil {
		return nil, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp, nil
}

// do makes a request and returns its answer, whatever it is.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(req.Context(), err)
	}
	return resp, nil
}

func setBody(req *http.Request, v any) error {
	var b []byte
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		b = v
		req.Header.Set("Content-Type", yamlType)
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			return fmt.Errorf("api: %w", err)
		}
		req.Header.Set("Content-Type", "application/json")
	}
	req.Body = io.NopCloser(bytes.NewReader(b))
	req.ContentLength = int64(len(b))
	return nil
}

// failed says why a request got no answer.
func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	why := err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		why = u.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return &unreachable{"no server answers on " + c.where + ": is muster serve running?"}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no access to %s: run as root or as a member of its group: %w", c.where, fs.ErrPermission)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &unreachable{"the server on " + c.where + " went away before it answered"}
	}
	return &unreachable{fmt.Sprintf("the server on %s cannot be reached: %v", c.where, why)}
}

// unreachable is ErrUnreachable with a sentence of its own.
type unreachable struct{ sentence string }

func (e *unreachable) Error() string { return e.sentence }
func (e *unreachable) Unwrap() error { return ErrUnreachable }

// retryPause is the pause between two attempts to find a server again.
const retryPause = 500 * time.Millisecond

// retry reports whether to try again after err: the server was there at that time, and is missed for less than
// the client's patience. It pauses before it says yes.
func (c *Client) retry(ctx context.Context, err error, there time.Time) bool {
	if !errors.Is(err, ErrUnreachable) || there.IsZero() || time.Since(there) >= c.Patience {
		return false
	}
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// readError turns an answer that says no into an Error.
func readError(resp *http.Response) *Error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	e := &Error{}
	if json.Unmarshal(b, e) != nil || e.Message == "" {
		e = &Error{Kind: kindInternal, Message: fmt.Sprintf("api: the server answered %s (is it a Muster server?)", resp.Status)}
	}
	e.Status = resp.StatusCode
	return e
}

// call makes a request and reads its JSON answer into out, unless out is nil.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, body, out any) error {
	resp, err := c.send(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	return c.decode(ctx, resp, out)
}

func (c *Client) decode(ctx context.Context, resp *http.Response, out any) error {
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &unreachable{"the server on " + c.where + " went away in the middle of an answer"}
		}
		return fmt.Errorf("api: the answer of %s is not understood: %w", resp.Request.URL.Path, err)
	}
	return nil
}

// get is call for a read.
func get[T any](ctx context.Context, c *Client, path string) (v T, err error) {
	err = c.call(ctx, http.MethodGet, path, nil, nil, &v)
	return v, err
}

// post is call for a change.
func post[T any](ctx context.Context, c *Client, path string, body any) (v T, err error) {
	err = c.call(ctx, http.MethodPost, path, nil, body, &v)
	return v, err
}
