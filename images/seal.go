package images

import (
	"context"
	"errors"
	"fmt"
)

// Seal is what a node verifies its squashfs with while it streams. The file SealFile has two lines: the Seal
// as JSON, and the base64 (standard, padded) of the Ed25519 signature over SealContext followed by the bytes
// of the first line without its newline.
type Seal struct {
	// Ref and Digest are the image's.
	Ref    Ref    `json:"ref"`
	Digest string `json:"digest"`
	// Size of the squashfs in bytes, and Chunk that of each part but the last one.
	Size  int64 `json:"size"`
	Chunk int64 `json:"chunk"`
	// Sums are the SHA-256 of the chunks in order, in hex.
	Sums []string `json:"sums"`
}

// SealContext keeps a signature over a seal from being one over anything else.
const SealContext = "muster seal 1\n"

// Pack makes the squashfs and the seal of a published version, unless it has them. The version's tree and
// manifest do not change.
func (c *Catalog) Pack(ctx context.Context, ref Ref) (Image, error) {
	return Image{}, fmt.Errorf("images: pack %s: %w", ref, errors.ErrUnsupported)
}
