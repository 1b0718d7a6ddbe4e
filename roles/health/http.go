package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"muster/roles"
)

// maxBody is how much of a page is read, in bytes: enough that a small one ends well, too little to hurt.
const maxBody = 64 << 10

// checkHTTP fetches a page. A status of 200–399 passes; a redirect is an answer, and is not followed: where it
// leads to says nothing of this node.
func checkHTTP(ctx context.Context, c roles.HTTPCheck, addr netip.Addr, timeout time.Duration) error {
	target, err := hostPort(addr, c.Port, 80)
	if err != nil {
		return err
	}
	req, err := httpRequest(ctx, c, target)
	if err != nil {
		return err
	}
	resp, err := client().Do(req)
	if err != nil {
		var u *url.Error // its text repeats method and URL
		if errors.As(err, &u) {
			err = u.Err
		}
		if errors.Is(err, io.EOF) {
			return &explained{fmt.Sprintf("%s closed the connection before it answered", target), err}
		}
		if e := explain(err, target, timeout); e != err {
			return e
		}
		return fmt.Errorf("%s: %w", req.URL, err)
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
	req.Header.Set("User-Agent", "muster-health")
	return req, nil
}

// client makes a client that leaves no connection behind and asks no proxy.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
