package api

import (
	"context"

	"muster/images"
	"muster/roles"
)

// Rack is what the API offers to operators. roles.Registry is the one implementation; its errors wrap the
// io/fs errors and say in a sentence what is wrong and what to do.
type Rack interface {
	Nodes() ([]roles.Node, error)
	Node(key string) (roles.Node, error)
	// Boots are newest first, with their events.
	Boots(key string) ([]roles.Boot, error)
	// Boot gives one boot of the node; id 0 is the latest.
	Boot(key string, id uint64) (roles.Boot, error)

	// Assign takes a MAC that was never seen as well.
	Assign(ctx context.Context, key, pool, slot string) (roles.Node, error)
	Release(ctx context.Context, key string) (roles.Node, error)
	// Replace gives old's slot to new.
	Replace(ctx context.Context, old, new string) (roles.Node, error)
	Forget(ctx context.Context, key string) error
	SwitchPower(ctx context.Context, key string, action roles.PowerAction) (on bool, err error)

	Pools() ([]roles.PoolStatus, error)
	Pool(name string) (roles.PoolStatus, error)
	EffectiveRoles() ([]roles.Role, error)
	EffectiveRole(name string) (roles.Role, error)

	Apply(ctx context.Context, d roles.Declaration, o roles.ApplyOptions) ([]roles.Change, error)
	Export() (roles.Declaration, error)

	// Events gives those with Seq > after, oldest first.
	Events(after uint64, limit int) ([]roles.Event, error)
	// Watch's channel is closed when the revision is above rev.
	Watch(rev uint64) <-chan struct{}
	Revision() uint64
}

// Images lists and finds published images: images.Catalog.
type Images interface {
	List() ([]images.Image, error)
	Find(ref images.Ref) (images.Image, error)
}
