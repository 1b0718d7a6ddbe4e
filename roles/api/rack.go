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
	// RestartNode asks the machine to restart in good order, and says why on its console.
	RestartNode(ctx context.Context, key, why string) (roles.Node, error)
	// SyncNode asks the machine to fetch its files anew; Files tells what it has to end with.
	SyncNode(ctx context.Context, key string) (roles.Node, error)
	Files(ctx context.Context, slot, image string) (roles.NodeFiles, error)

	Pools() ([]roles.PoolStatus, error)
	Pool(name string) (roles.PoolStatus, error)
	EffectiveRoles() ([]roles.Role, error)
	EffectiveRole(name string) (roles.Role, error)

	StartRollout(ctx context.Context, pool string, o roles.RolloutOptions) (roles.Rollout, error)
	StopRollout(ctx context.Context, pool string) (roles.Rollout, error)
	RollbackPool(ctx context.Context, pool string) (roles.Rollout, error)
	// Rollout gives the pool's latest one.
	Rollout(pool string) (roles.Rollout, error)
	// InUse says why an image version must stay, "" when it need not.
	InUse(ref images.Ref) string

	Pairs() ([]roles.PairView, error)
	Pair(pool string) (roles.PairView, error)
	ClaimDisk(ctx context.Context, slot, disk string) (roles.PairView, error)
	// PromoteHalf goes on without the other half; off says that somebody made sure that it is off.
	PromoteHalf(ctx context.Context, slot string, off bool) (roles.PairView, error)
	KeepHalf(ctx context.Context, slot string) (roles.PairView, error)
	MaintainHalf(ctx context.Context, slot string, on bool) (roles.PairView, error)
	VerifyPair(ctx context.Context, pool string) (roles.PairView, error)

	// Secrets come without their values.
	Secrets() ([]roles.Secret, error)
	SetSecret(ctx context.Context, key string, value []byte) (roles.Secret, error)
	RotateSecret(ctx context.Context, key string) (roles.Secret, error)

	Apply(ctx context.Context, d roles.Declaration, o roles.ApplyOptions) ([]roles.Change, error)
	Export() (roles.Declaration, error)

	// Events gives those with Seq > after, oldest first.
	Events(after uint64, limit int) ([]roles.Event, error)
	// Watch's channel is closed when the revision is above rev.
	Watch(rev uint64) <-chan struct{}
	Revision() uint64
}

// Images keeps the published images: images.Catalog, whose methods say what they do.
type Images interface {
	List() ([]images.Image, error)
	Find(ref images.Ref) (images.Image, error)
	SetCurrent(ref images.Ref) error
	Rollback(name string) (images.Image, error)
	Verify(ctx context.Context, ref images.Ref) ([]images.Problem, error)
	Diff(ctx context.Context, a, b images.Ref) (images.Diff, error)
	Prune(ctx context.Context, o images.PruneOptions) ([]images.Pruned, error)
	Remove(ref images.Ref) error
	// Log gives the path of a build's log.
	Log(ref images.Ref) (path string, err error)
	Pack(ctx context.Context, ref images.Ref) (images.Image, error)
}
