package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// stallTime is how long a connection may be silent in the middle of a layer.
	stallTime = time.Minute
	// resumes is how often a broken download goes on before it has failed: with pauses that double, half a
	// minute of a registry that restarts.
	resumes = 5
	// resumed is the number of bytes after which a download counts as going again.
	resumed = 1 << 20
)

// resumer is a transport whose downloads go on where they broke (RFC 9110 section 14, Range), and which speaks
// plain HTTP to nobody but this machine unless it was told to.
type resumer struct {
	base  http.RoundTripper
	plain bool
	pause time.Duration // before the first new try
	stall time.Duration // how long a connection may be silent
}

var errPlain = errors.New("plain HTTP is for this machine only")

// RoundTrip implements http.RoundTripper.
func (t resumer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !t.plain && !loopback(req.URL.Hostname()) {
		return nil, errPlain
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	b := &body{transport: t, req: req, resp: resp, from: resp.Body, cancel: cancel, size: -1}
	if req.Method == http.MethodGet && resp.StatusCode == http.StatusOK && !resp.Uncompressed && req.Header.Get("Range") == "" {
		b.size = resp.ContentLength
	}
	resp.Body = b
	return resp, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// body is a response's body that survives its connection. Without a size it only notices silence.
type body struct {
	transport resumer
	req       *http.Request
	resp      *http.Response
	from      io.ReadCloser
	cancel    context.CancelCauseFunc
	size      int64
	at        int64
	tries     int
	since     int64 // bytes since the last try
}

// connection is the one that a body has just now. It is cut when it is silent.
type connection struct{ *body }

// Read implements io.Reader.
func (c connection) Read(p []byte) (int, error) {
	cancel := c.cancel // and not that of the next connection
	silent := time.AfterFunc(c.transport.stall, func() { cancel(errSilent) })
	n, err := c.from.Read(p)
	if !silent.Stop() && err != nil {
		err = errSilent
	}
	return n, err
}

var errSilent = fmt.Errorf("the registry was silent for %v", stallTime)

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for {
		n, err := connection{b}.Read(p)
		b.at += int64(n)
		if b.since += int64(n); b.since > resumed {
			b.tries = 0
		}
		if err == nil || b.size < 0 || b.at >= b.size {
			return n, err
		}
		if n > 0 {
			return n, nil // the next read finds it broken again
		}
		if err := b.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume opens the rest, or says why not: broken is what happened.
func (b *body) resume(broken error) error {
	for ; b.tries < resumes; b.tries++ {
		select {
		case <-b.req.Context().Done():
			return context.Cause(b.req.Context())
		case <-time.After(b.transport.pause << b.tries):
		}
		err := b.reopen()
		if err == nil {
			b.tries, b.since = b.tries+1, 0
			return nil
		}
		if errors.Is(err, errGone) {
			return err
		}
		broken = err
	}
	return fmt.Errorf("the connection to %s broke off after %d of %d bytes, and %d new ones did not help: %w", b.req.URL.Host, b.at, b.size, resumes, broken)
}

var errGone = errors.New("the registry does not continue a broken download")

// reopen asks for the rest.
func (b *body) reopen() error {
	b.cancel(nil)
	_ = b.from.Close() // broken already
	ctx, cancel := context.WithCancelCause(b.req.Context())
	b.cancel = cancel
	req := b.req.Clone(ctx)
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.at, b.size-1))
	resp, err := b.transport.base.RoundTrip(req)
	if err != nil {
		return err
	}
	b.from = resp.Body
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", b.at)):
		return nil
	case resp.StatusCode == http.StatusOK && resp.ContentLength == b.size: // it knows no ranges
		_, err := io.CopyN(io.Discard, connection{b}, b.at)
		return err
	case resp.StatusCode >= 500:
		return fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return fmt.Errorf("%w (after %d of %d bytes it answers %d %s)", errGone, b.at, b.size, resp.StatusCode, http.StatusText(resp.StatusCode))
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.from.Close()
	b.cancel(nil)
	return err
}
