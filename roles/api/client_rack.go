package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"muster/roles"
)

func nodePath(key string, rest string) string { return "/v1/nodes/" + url.PathEscape(key) + rest }

// Nodes lists every node by MAC.
func (c *Client) Nodes(ctx context.Context) ([]roles.Node, error) {
	return get[[]roles.Node](ctx, c, "/v1/nodes")
}

// Node gives one node by its MAC or the name of its slot.
func (c *Client) Node(ctx context.Context, key string) (roles.Node, error) {
	return get[roles.Node](ctx, c, nodePath(key, ""))
}

// Boots lists a node's boots, newest first.
func (c *Client) Boots(ctx context.Context, key string) ([]roles.Boot, error) {
	return get[[]roles.Boot](ctx, c, nodePath(key, "/boots"))
}

// Boot gives one boot of a node with its timeline; id 0 is the latest.
func (c *Client) Boot(ctx context.Context, key string, id uint64) (roles.Boot, error) {
	return get[roles.Boot](ctx, c, bootPath(key, id))
}

func bootPath(key string, id uint64) string {
	name := latest
	if id != 0 {
		name = strconv.FormatUint(id, 10)
	}
	return nodePath(key, "/boots/"+name)
}

// Assign puts a node into a pool, and into one of its slots unless slot is "". It may name a MAC that was
// never seen.
func (c *Client) Assign(ctx context.Context, key, pool, slot string) (roles.Node, error) {
	return post[roles.Node](ctx, c, nodePath(key, "/assign"), AssignRequest{pool, slot})
}

// Release takes a node out of its pool and leaves it to the pools' rules.
func (c *Client) Release(ctx context.Context, key string) (roles.Node, error) {
	return post[roles.Node](ctx, c, nodePath(key, "/release"), nil)
}

// Replace gives old's slot to by, seen or not, and returns by.
func (c *Client) Replace(ctx context.Context, old, by string) (roles.Node, error) {
	return post[roles.Node](ctx, c, nodePath(old, "/replace"), ReplaceRequest{by})
}

// Forget deletes a node and its boots.
func (c *Client) Forget(ctx context.Context, key string) error {
	return c.call(ctx, http.MethodDelete, nodePath(key, ""), nil, nil, nil)
}

// Power switches a node, or asks, and reports whether it is on then.
func (c *Client) Power(ctx context.Context, key string, action roles.PowerAction) (on bool, err error) {
	st, err := post[PowerStatus](ctx, c, nodePath(key, "/power"), PowerRequest{action})
	return st.On, err
}

// Pools lists the pools with their slots.
func (c *Client) Pools(ctx context.Context) ([]roles.PoolStatus, error) {
	return get[[]roles.PoolStatus](ctx, c, "/v1/pools")
}

// Pool gives one pool with its slots.
func (c *Client) Pool(ctx context.Context, name string) (roles.PoolStatus, error) {
	return get[roles.PoolStatus](ctx, c, "/v1/pools/"+url.PathEscape(name))
}

// Slots lists the slots of every pool.
func (c *Client) Slots(ctx context.Context) ([]roles.SlotStatus, error) {
	return get[[]roles.SlotStatus](ctx, c, "/v1/slots")
}

// Roles lists the roles as they are in effect: the library's with what is declared over them.
func (c *Client) Roles(ctx context.Context) ([]roles.Role, error) {
	return get[[]roles.Role](ctx, c, "/v1/roles")
}

// Role gives one role as it is in effect.
func (c *Client) Role(ctx context.Context, name string) (roles.Role, error) {
	return get[roles.Role](ctx, c, "/v1/roles/"+url.PathEscape(name))
}

// Doctor examines the server's set-up.
func (c *Client) Doctor(ctx context.Context) ([]Finding, error) {
	return get[[]Finding](ctx, c, "/v1/doctor")
}

// Health asks whether the server works.
func (c *Client) Health(ctx context.Context) (Liveness, error) {
	return get[Liveness](ctx, c, "/v1/healthz")
}

// Version asks which server answers.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version")
}
