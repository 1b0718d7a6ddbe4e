package serve

import (
	"context"
	"errors"

	"muster/httpboot/agent/pair"
)

// vote is the third vote of the storage pairs.
type vote struct{}

// bundle gives what a pair needs to talk to it.
func (v *vote) bundle(context.Context, string) (pair.Vote, error) {
	return pair.Vote{}, errors.ErrUnsupported
}
