package serve

import (
	"context"
	"errors"

	"muster/httpboot/agent"
)

// Pair implements httpboot.Director.
func (d *director) Pair(ctx context.Context, c agent.PairCall) (any, error) {
	return nil, errors.ErrUnsupported
}
