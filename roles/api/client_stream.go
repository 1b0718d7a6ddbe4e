package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"muster/roles"
)

// maxLine bounds one line of a stream.
const maxLine = 1 << 20

// lines calls fn with every line of a stream, until it ends or fn fails. Empty lines are the heartbeat.
func lines[T any](ctx context.Context, resp *http.Response, fn func(T) error) error {
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			return fmt.Errorf("api: a line of the stream is not understood: %w", err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sc.Err()
}

// EventQuery selects events.
type EventQuery struct {
	// After is the Seq after which they begin; zero means the oldest that is kept.
	After uint64
	// Last is how many of the latest are wanted; zero means all, in a listing at most Limit.
	Last int
	// Limit bounds a listing; zero means 500.
	Limit int
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	for name, n := range map[string]uint64{"after": q.After, "last": uint64(q.Last), "limit": uint64(q.Limit)} {
		if n > 0 {
			v.Set(name, strconv.FormatUint(n, 10))
		}
	}
	return v
}

// Events lists events, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]roles.Event, error) {
	var v []roles.Event
	err := c.call(ctx, http.MethodGet, "/v1/events", q.values(), nil, &v)
	return v, err
}

// Follow calls fn with events, and then with every new one as it comes, until fn fails, ctx ends or the server is
// away for longer than the client's patience (ErrUnreachable). It never returns nil.
func (c *Client) Follow(ctx context.Context, q EventQuery, fn func(roles.Event) error) error {
	var there time.Time
	for {
		err := c.follow(ctx, q, func(e roles.Event) error {
			// After a break it goes on where it was.
			q.After, q.Last = e.Seq, 0
			return fn(e)
		}, &there)
		if !c.retry(ctx, err, there) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

// follow is one stream. It keeps in there when the server was last heard of.
func (c *Client) follow(ctx context.Context, q EventQuery, fn func(roles.Event) error, there *time.Time) error {
	v := q.values()
	v.Set("follow", "1")
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", v, nil)
	if err != nil {
		return err
	}
	err = lines(ctx, resp, fn)
	*there = time.Now()
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return &unreachable{"the server on " + c.where + " went away"}
	}
	return err
}
