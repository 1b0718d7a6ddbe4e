package images

import (
	"context"
	"errors"
)

// Pruned is one version that Prune looked at.
type Pruned struct {
	Ref Ref `json:"ref"`
	// Kept says why it stays; empty for one that was removed (or would be, in a dry run).
	Kept string `json:"kept,omitempty"`
	// Freed is about how many bytes the disk gained: files that other versions share are not counted.
	Freed int64 `json:"freed,omitempty"`
}

// PruneOptions say what to remove.
type PruneOptions struct {
	// Name limits it to one image; empty means all.
	Name string
	// Keep is how many of the newest versions of each image stay in any case; zero means 2.
	Keep int
	// DryRun changes nothing.
	DryRun bool
	// InUse says why a version must stay (a node runs it, a boot loads it, a pool is pinned to it); empty
	// means that it need not. It is asked again right before a version is removed. Required.
	InUse func(Ref) string
}

// Prune removes versions that nothing uses. The current version of an image, and the one that was current
// before it, always stay.
func (c *Catalog) Prune(ctx context.Context, o PruneOptions) ([]Pruned, error) {
	return nil, errors.ErrUnsupported
}
