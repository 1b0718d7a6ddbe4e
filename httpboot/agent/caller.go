package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Caller speaks for a storage machine's running system, with the session that its boot has left. It may be used by
// several goroutines.
type Caller struct {
	session Session
	client  *client
}

// NewCaller reads the session below root, which is empty on a real machine. HTTPS nil means a client that takes the
// session's pin and no other. The error wraps fs.ErrNotExist or fs.ErrInvalid when there is no session.
func NewCaller(root string, https *http.Client) (*Caller, error) {
	s, err := readSession(root)
	if err != nil {
		return nil, err
	}
	if https == nil {
		https = secureClient(s.Pin)
	}
	return &Caller{session: s, client: &client{http: https, servers: s.Servers}}, nil
}

// Call posts a PairCall and reads the answer into out, unless nil. It tries every boot server once, and gives each of
// them timeout; the error wraps the kind of what the last one said.
func (c *Caller) Call(ctx context.Context, timeout time.Duration, op string, in, out any) error {
	call := PairCall{MAC: c.session.MAC, Key: c.session.Key, Op: op}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("agent: %s: %w", op, err)
		}
		call.Body = b
	}
	if err := c.client.apart().call(ctx, timeout, PathPair, call, out); err != nil {
		return fmt.Errorf("agent: %s: %w", op, err)
	}
	return nil
}
