package roles

import (
	"context"
	"errors"
	"time"

	"muster/images"
)

// RolloutState says how far a rollout is, in one word.
type RolloutState string

// The states of a rollout.
const (
	RolloutRunning     RolloutState = "running"
	RolloutDone        RolloutState = "done"
	RolloutRollingBack RolloutState = "rolling-back" // a node failed, or an operator stopped it
	RolloutRolledBack  RolloutState = "rolled-back"
	RolloutFailed      RolloutState = "failed" // it could not even roll back; Why says what to do
)

// Rollout takes a pool from one image version to another, node by node. A pool's latest one is kept.
type Rollout struct {
	// Pool is the key.
	Pool string `json:"pool"`
	// From is what the pool ran, Image what it is to run; both name a version.
	From  images.Ref `json:"from"`
	Image images.Ref `json:"image"`
	// Pin is what the pool's image was pinned to before; "" for nothing.
	Pin string `json:"pin,omitempty"`
	// Canary is how many nodes go first and must be ready before any other; Batch how many restart at the
	// same time after that.
	Canary int `json:"canary"`
	Batch  int `json:"batch"`
	// Timeout is how long one node may take until it is ready.
	Timeout Duration     `json:"timeout"`
	State   RolloutState `json:"state"`
	// Why says what it waits for, or why it failed.
	Why     string        `json:"why,omitempty"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended,omitzero"`
	Slots   []RolloutSlot `json:"slots"`
}

// RolloutSlot is one node's part in a rollout.
type RolloutSlot struct {
	Name string `json:"name"`
	// State is pending, restarting, done, failed, or back for one that runs From again.
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// RolloutOptions are what an operator says of a rollout.
type RolloutOptions struct {
	// Image is the version to roll out; version 0 means the current one.
	Image images.Ref
	// Canary and Batch; zero means 1. Timeout; zero means 10 min.
	Canary, Batch int
	Timeout       Duration
}

// StartRollout begins to take a pool to another image version. The pool never gets below its minimum of ready
// nodes by it; a node that does not become ready in time ends it, and what was restarted goes back. The error
// wraps fs.ErrExist while another rollout of the pool goes on, fs.ErrInvalid where nothing would change or
// nothing could ever be restarted.
func (r *Registry) StartRollout(ctx context.Context, pool string, o RolloutOptions) (Rollout, error) {
	return Rollout{}, errors.ErrUnsupported
}

// StopRollout ends a rollout that is running: what was restarted goes back.
func (r *Registry) StopRollout(ctx context.Context, pool string) (Rollout, error) {
	return Rollout{}, errors.ErrUnsupported
}

// RollbackPool takes a pool back, node by node, to the image that it ran before its last rollout.
func (r *Registry) RollbackPool(ctx context.Context, pool string) (Rollout, error) {
	return Rollout{}, errors.ErrUnsupported
}

// Rollout gives a pool's latest rollout. The error wraps fs.ErrNotExist where there was none.
func (r *Registry) Rollout(pool string) (Rollout, error) { return Rollout{}, errors.ErrUnsupported }

// RestartNode asks a node to restart: its own agent does that in good order; where none answers, the power
// driver cuts the power. The error wraps fs.ErrInvalid where there is neither.
func (r *Registry) RestartNode(ctx context.Context, key, why string) (Node, error) {
	return Node{}, errors.ErrUnsupported
}

// SyncNode asks a node to fetch its files anew. It gives the node; its Files become the current revision when
// it has them. The error wraps fs.ErrInvalid where no agent of ours runs in the node.
func (r *Registry) SyncNode(ctx context.Context, key string) (Node, error) {
	return Node{}, errors.ErrUnsupported
}

// InUse says why an image version must not be removed, "" when it may be: a node runs it, a boot loads it, a
// pool is pinned to it, a rollout goes from or to it.
func (r *Registry) InUse(ref images.Ref) string { return "not known yet" }
