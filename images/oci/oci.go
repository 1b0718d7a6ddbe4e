// Package oci fills a root from a container image, of a registry or of a layout directory.
package oci

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"muster/images"
)

// Registry is images.Source for oci:REFERENCE.
type Registry struct{}

// Fill implements images.Source.
func (Registry) Fill(context.Context, string, string, images.FillOptions) (string, error) {
	return "", errors.ErrUnsupported
}

var _ v1.Image
