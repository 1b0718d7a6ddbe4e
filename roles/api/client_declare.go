package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"muster/roles"
)

// Apply makes the rack what the YAML says, or with o.DryRun tells what it would change. file names it in the
// messages. Faults in it are one error that wraps fs.ErrInvalid, one a line.
func (c *Client) Apply(ctx context.Context, yaml []byte, file string, o roles.ApplyOptions) ([]roles.Change, error) {
	q := url.Values{"file": {file}}
	if o.DryRun {
		q.Set("dry-run", "1")
	}
	if o.Prune {
		q.Set("prune", "1")
	}
	if yaml == nil {
		yaml = []byte{}
	}
	var changes []roles.Change
	err := c.call(ctx, http.MethodPost, applyPath, q, yaml, &changes)
	return changes, err
}

// Export gives the declared rack as the YAML that Apply reads.
func (c *Client) Export(ctx context.Context) ([]byte, error) {
	resp, err := c.send(ctx, http.MethodGet, "/v1/export", nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("api: export: %w", err)
	}
	return b, nil
}
