package images

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Source fills a root from something that exists already.
type Source interface {
	// Fill writes a root file system into dir, an empty directory, and gives what it came from, exactly:
	// "oci:docker.io/library/debian@sha256:…". What is the part of Recipe.From behind the colon. Nothing that
	// it reads may lead out of dir. The error wraps fs.ErrNotExist where there is no such thing, and
	// fs.ErrInvalid where it is not a root file system or would escape.
	Fill(ctx context.Context, what, dir string, o FillOptions) (origin string, err error)
}

// FillOptions go with Source.Fill.
type FillOptions struct {
	// Log takes what people may want to read when it failed.
	Log io.Writer
	// Progress is told how far it is: percent 0–100 of the whole, and what is being done.
	Progress func(percent int, message string)
}

// fill makes the tree from what the recipe names in From, says what it lacks for a boot from the network, and
// adds that where the recipe asks for it.
func (w *build) fill(ctx context.Context, tree string) error {
	return fmt.Errorf("from %q: %w", w.recipe.From, errors.ErrUnsupported)
}
