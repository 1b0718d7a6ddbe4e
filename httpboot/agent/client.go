package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one exchange with a boot server.
const (
	// replySize bounds a reply: a spec with its files.
	replySize = 16 << 20
	// callTimeout is for one short call. A server under a boot storm may take seconds.
	callTimeout = 15 * time.Second
	// PollHold is the longest that a server holds a Poll: below the idle time-out of common middleboxes.
	PollHold = 25 * time.Second
)

// client talks to the boot servers: to one until it fails, then to the next.
type client struct {
	http    *http.Client
	servers []string

	mu sync.Mutex
	// at is the server that answered last. Guarded by mu.
	at int
	// here ends, by leave, when the machine changes its address; nil before the first call. Guarded by mu.
	here  context.Context
	leave context.CancelFunc
}

// httpClient is made for a boot: no proxy, short dials, few connections.
func httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:           dialer.DialContext,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       30 * time.Second,
		ResponseHeaderTimeout: PollHold + callTimeout,
	}}
}

// secureClient is an httpClient that talks TLS 1.3 to the holder of the key with this pin and to nobody else:
// no authority vouches for a boot server, and its names do not matter. The handshake proves that the other
// side has the key.
func secureClient(pin string) *http.Client {
	c := httpClient()
	t := c.Transport.(*http.Transport)
	t.TLSHandshakeTimeout = callTimeout
	t.TLSClientConfig = &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // in favour of what follows
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return &wrongPin{"none", pin}
			}
			sum := sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != pin {
				return &wrongPin{got, pin}
			}
			return nil
		},
	}
	return c
}

// wrongPin is a server that is not the one which this machine was booted by.
type wrongPin struct{ got, want string }

func (w *wrongPin) Error() string {
	return fmt.Sprintf("this is not our boot server: its TLS key has the pin %s, %s=%s was wanted", w.got, ParamPin, w.want)
}

// secureServers gives the URLs for TLS: first, which the spec names, then the other boot servers with its port.
func secureServers(first string, servers []string) ([]string, error) {
	u, err := url.Parse(first)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no https URL: %w", first, fs.ErrInvalid)
	}
	out := []string{strings.TrimRight(first, "/")}
	for _, s := range servers {
		other, err := url.Parse(s)
		if err != nil {
			continue
		}
		host := other.Hostname()
		if u.Port() != "" {
			host = net.JoinHostPort(host, u.Port())
		}
		if next := "https://" + host; !slices.Contains(out, next) {
			out = append(out, next)
		}
	}
	return out, nil
}

// call posts in as JSON to path and reads the reply into out (unless nil). It tries every server once,
// the one that answered last first, and gives each timeout. The error names every server; it wraps the
// kind of what the last one said: fs.ErrPermission for a refused token, fs.ErrNotExist, fs.ErrInvalid.
func (c *client) call(ctx context.Context, timeout time.Duration, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.each(ctx, func(server string) error { return c.post(ctx, timeout, server+path, body, out) })
}

// each asks one server after the other, until one has answered.
func (c *client) each(ctx context.Context, ask func(server string) error) error {
	c.mu.Lock()
	first := c.at
	c.mu.Unlock()
	var errs []error
	for i := range c.servers {
		at := (first + i) % len(c.servers)
		err := ask(c.servers[at])
		if err == nil {
			c.mu.Lock()
			c.at = at
			c.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", c.servers[at], err))
	}
	return errors.Join(errs...)
}

// server is the one that answered last.
func (c *client) server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[c.at]
}

// address ends when the machine changes its address.
func (c *client) address() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here == nil {
		c.here, c.leave = context.WithCancel(context.Background())
	}
	return c.here
}

// moved is for a machine that changed its address: it ends the calls under way and forgets every connection,
// since no answer would come to the old one.
func (c *client) moved() {
	c.address()
	c.mu.Lock()
	c.leave()
	c.here = nil
	c.mu.Unlock()
	c.http.CloseIdleConnections()
}

// apart gives a client that begins with the same server and then goes its own way: an event that one server took
// says nothing of another's downloads.
func (c *client) apart() *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &client{http: c.http, servers: c.servers, at: c.at}
}

// next makes another server the first one to be asked.
func (c *client) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = (c.at + 1) % len(c.servers)
}

// get reads what path has on a boot server, limit bytes at most. It tries the servers like call.
func (c *client) get(ctx context.Context, timeout time.Duration, path string, limit int64) ([]byte, error) {
	var out []byte
	err := c.each(ctx, func(server string) (err error) {
		out, err = c.do(ctx, timeout, http.MethodGet, server+path, nil, limit)
		return err
	})
	return out, err
}

func (c *client) post(ctx context.Context, timeout time.Duration, url string, body []byte, out any) error {
	b, err := c.do(ctx, timeout, http.MethodPost, url, body, replySize)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the reply is not what this agent understands: %w", err)
	}
	return nil
}

// do gives the body of an answer that has a status of success.
func (c *client) do(ctx context.Context, timeout time.Duration, method, url string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(c.address(), cancel)()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, plain(err)
	case res.StatusCode/100 != 2:
		return nil, statusError(res.StatusCode, b)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("the reply is larger than %d MiB", limit>>20)
	}
	return b, nil
}

// kinds is the server's table of errors, read backwards.
var kinds = map[int]error{
	http.StatusBadRequest: fs.ErrInvalid,
	http.StatusForbidden:  fs.ErrPermission,
	http.StatusNotFound:   fs.ErrNotExist,
	http.StatusConflict:   fs.ErrExist,
}

// statusError carries the server's sentence and the error's kind.
func statusError(code int, body []byte) error {
	text := strings.TrimSpace(string(body[:min(len(body), 300)]))
	if kind, ok := kinds[code]; ok {
		return &refusal{text, kind}
	}
	return fmt.Errorf("status %d: %s", code, text)
}

// refusal is an answer of the server that says no: another try is of little use until something changes.
type refusal struct {
	text string
	kind error
}

func (r *refusal) Error() string { return "the server says: " + r.text }
func (r *refusal) Unwrap() error { return r.kind }

// plain shortens net/http's error, which repeats the URL, and takes the kind from what is the node's own
// kernel's word: what that forbids (EPERM, by a firewall) is no server's refusal.
func plain(err error) error {
	var u interface{ Unwrap() error }
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if errors.As(err, &u) {
		if inner := u.Unwrap(); inner != nil {
			err = inner
		}
	}
	if _, ok := errors.AsType[unix.Errno](err); ok {
		return errors.New(err.Error())
	}
	return err
}
