package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"muster/roles"
)

func rolloutPath(pool, rest string) string { return "/v1/pools/" + url.PathEscape(pool) + rest }

// StartRollout begins to take a pool to another image version.
func (c *Client) StartRollout(ctx context.Context, pool string, q RolloutRequest) (roles.Rollout, error) {
	return post[roles.Rollout](ctx, c, rolloutPath(pool, "/rollout"), q)
}

// StopRollout ends a rollout that is running: what was restarted goes back.
func (c *Client) StopRollout(ctx context.Context, pool string) (roles.Rollout, error) {
	return post[roles.Rollout](ctx, c, rolloutPath(pool, "/rollout/stop"), nil)
}

// RollbackPool takes a pool back to the image that it ran before its latest rollout.
func (c *Client) RollbackPool(ctx context.Context, pool string) (roles.Rollout, error) {
	return post[roles.Rollout](ctx, c, rolloutPath(pool, "/rollback"), nil)
}

// Rollout gives a pool's latest rollout. The error wraps fs.ErrNotExist where there was none.
func (c *Client) Rollout(ctx context.Context, pool string) (roles.Rollout, error) {
	return get[roles.Rollout](ctx, c, rolloutPath(pool, "/rollout"))
}

// Rollouts gives the latest rollout of every pool that had one.
func (c *Client) Rollouts(ctx context.Context) ([]roles.Rollout, error) {
	return get[[]roles.Rollout](ctx, c, "/v1/rollouts")
}

// FollowRollout calls fn with the pool's rollout, now and after every change, until it has ended or another one
// has begun; it returns the rollout as fn saw it last. The pool must have one.
func (c *Client) FollowRollout(ctx context.Context, pool string, fn func(roles.Rollout)) (roles.Rollout, error) {
	var last roles.Rollout
	err := watch(ctx, c, rolloutPath(pool, "/rollout"), func(r roles.Rollout) (bool, error) {
		if !last.Started.IsZero() && !r.Started.Equal(last.Started) {
			return true, nil
		}
		last = r
		fn(r)
		return !r.Ended.IsZero(), nil
	})
	return last, err
}

// RestartNode asks a node to restart in good order; why may be "".
func (c *Client) RestartNode(ctx context.Context, key, why string) (roles.Node, error) {
	return post[roles.Node](ctx, c, nodePath(key, "/restart"), RestartRequest{why})
}

// SyncNode asks a node to fetch its files anew. It has them when WaitNode finds the wanted revision.
func (c *Client) SyncNode(ctx context.Context, key string) (SyncStatus, error) {
	return post[SyncStatus](ctx, c, nodePath(key, "/sync"), nil)
}

// Secrets lists what secrets there are, without their values.
func (c *Client) Secrets(ctx context.Context) ([]roles.Secret, error) {
	return get[[]roles.Secret](ctx, c, "/v1/secrets")
}

// SetSecret stores an operator's own value of the secret key: pool/web/tls.
func (c *Client) SetSecret(ctx context.Context, key string, value []byte) (roles.Secret, error) {
	var s roles.Secret
	err := c.call(ctx, http.MethodPut, secretPath(key, ""), nil, SecretRequest{value}, &s)
	return s, err
}

// RotateSecret has a new value made.
func (c *Client) RotateSecret(ctx context.Context, key string) (roles.Secret, error) {
	return post[roles.Secret](ctx, c, secretPath(key, "/rotate"), nil)
}

// secretPath leaves the slashes of a key: they part it into three.
func secretPath(key, rest string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return "/v1/secrets/" + strings.Join(parts, "/") + rest
}
