// Package iso fills a root from the squashfs inside of a distribution's ISO image.
package iso

import (
	"context"
	"errors"

	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"muster/images"
)

// Source is images.Source for iso:FILE.
type Source struct{}

// Fill implements images.Source.
func (Source) Fill(context.Context, string, string, images.FillOptions) (string, error) {
	return "", errors.ErrUnsupported
}

var _ *iso9660.FileSystem
