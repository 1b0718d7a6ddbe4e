package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"muster/roles"
)

// watch calls fn with the value of path, now and after every change of the store, until fn says that it is
// done. What does not exist (yet) is skipped.
func watch[T any](ctx context.Context, c *Client, path string, fn func(T) (done bool, err error)) error {
	q := url.Values{}
	var there time.Time
	for {
		var v T
		rev, err := c.poll(ctx, path, q, &v)
		if rev != "" {
			there = time.Now()
		}
		switch {
		case errors.Is(err, errUnchanged), errors.Is(err, fs.ErrNotExist) && rev != "":
		case err != nil && c.retry(ctx, err, there):
			continue
		case err != nil:
			return err
		default:
			if done, err := fn(v); done || err != nil {
				return err
			}
		}
		q.Set("rev", rev)
	}
}

var errUnchanged = errors.New("unchanged")

// poll makes one read, and returns its revision: "" when the answer has none.
func (c *Client) poll(ctx context.Context, path string, q url.Values, out any) (rev string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+q.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("api: %w", err)
	}
	resp, err := c.do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	rev = strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return rev, errUnchanged
	case resp.StatusCode != http.StatusOK:
		return rev, readError(resp)
	}
	return rev, c.decode(ctx, resp, out)
}

// WaitNode waits until a node is as until wants it, and returns it. A node that is not there yet is waited for.
func (c *Client) WaitNode(ctx context.Context, key string, until func(roles.Node) bool) (roles.Node, error) {
	var last roles.Node
	err := watch(ctx, c, nodePath(key, ""), func(n roles.Node) (bool, error) {
		last = n
		return until(n), nil
	})
	return last, err
}

// FollowBoot calls fn with a node's latest boot whenever its timeline grew, with the events that are new, until
// it ends or a later one begins; it returns the boot. A boot up to number after is not meant: the next one is
// waited for, and so is a node that is not there yet.
func (c *Client) FollowBoot(ctx context.Context, key string, after uint64, fn func(b roles.Boot, fresh []roles.Event)) (roles.Boot, error) {
	var last roles.Boot
	var seen uint64
	err := watch(ctx, c, bootPath(key, 0), func(b roles.Boot) (bool, error) {
		if b.ID <= after {
			return false, nil
		}
		if last.ID != 0 && b.ID != last.ID {
			return true, nil
		}
		last = b
		var fresh []roles.Event
		for _, e := range b.Events {
			if e.Seq > seen {
				fresh, seen = append(fresh, e), e.Seq
			}
		}
		if len(fresh) > 0 {
			fn(b, fresh)
		}
		return !b.Ended.IsZero(), nil
	})
	return last, err
}
