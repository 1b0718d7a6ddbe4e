package api

import (
	"context"
	"net/url"

	"muster/roles"
)

func pairPath(pool, rest string) string { return "/v1/storage/" + url.PathEscape(pool) + rest }

// Pairs lists the storage pairs by name.
func (c *Client) Pairs(ctx context.Context) ([]roles.PairView, error) {
	return get[[]roles.PairView](ctx, c, "/v1/storage")
}

// Pair gives one storage pair.
func (c *Client) Pair(ctx context.Context, pool string) (roles.PairView, error) {
	return get[roles.PairView](ctx, c, pairPath(pool, ""))
}

// FollowPairs calls fn with the storage pairs, now, after every change and at least every few seconds, until fn
// fails or ctx ends.
func (c *Client) FollowPairs(ctx context.Context, fn func([]roles.PairView) error) error {
	return watch(ctx, c, "/v1/storage", func(all []roles.PairView) (bool, error) { return false, fn(all) })
}

// ClaimDisk gives a disk to a half of a pair, with all that is on it.
func (c *Client) ClaimDisk(ctx context.Context, pool string, q ClaimRequest) (roles.PairView, error) {
	return post[roles.PairView](ctx, c, pairPath(pool, "/claim"), q)
}

// PromoteHalf makes a pair go on with one half alone. It may take a minute: the other one is switched off first.
func (c *Client) PromoteHalf(ctx context.Context, pool string, q PromoteRequest) (roles.PairView, error) {
	return post[roles.PairView](ctx, c, pairPath(pool, "/promote"), q)
}

// KeepHalf decides a split.
func (c *Client) KeepHalf(ctx context.Context, pool string, q KeepRequest) (roles.PairView, error) {
	return post[roles.PairView](ctx, c, pairPath(pool, "/keep"), q)
}

// MaintainHalf takes a half out of service, or back.
func (c *Client) MaintainHalf(ctx context.Context, pool string, q MaintenanceRequest) (roles.PairView, error) {
	return post[roles.PairView](ctx, c, pairPath(pool, "/maintenance"), q)
}

// VerifyPair asks for a comparison of both disks; the outcome is in the halves' Verify.
func (c *Client) VerifyPair(ctx context.Context, pool string) (roles.PairView, error) {
	return post[roles.PairView](ctx, c, pairPath(pool, "/verify"), nil)
}
