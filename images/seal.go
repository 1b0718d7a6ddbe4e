package images

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

// sealChunk is what a node holds before it knows that it may keep it.
const sealChunk = 1 << 20

// newSeal reads file and makes its seal.
func newSeal(ctx context.Context, img Image, file string) (Seal, error) {
	f, err := os.Open(file)
	if err != nil {
		return Seal{}, fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	s := Seal{Ref: img.Ref, Digest: img.Digest, Chunk: sealChunk}
	h := sha256.New()
	for {
		h.Reset()
		n, err := io.CopyN(h, f, s.Chunk)
		if err != nil && err != io.EOF {
			return Seal{}, fmt.Errorf("images: %w", err)
		}
		if n > 0 {
			s.Size += n
			s.Sums = append(s.Sums, hex.EncodeToString(h.Sum(nil)))
		}
		if err == io.EOF {
			return s, nil
		}
		if err := ctx.Err(); err != nil {
			return Seal{}, err
		}
	}
}

// encode gives what the file SealFile holds.
func (s Seal) encode(key ed25519.PrivateKey) ([]byte, error) {
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	sig := signature(key, append([]byte(SealContext), line...))
	return append(append(line, '\n'), sig...), nil
}

// readSeal reads a version's seal. The error wraps fs.ErrInvalid when it is not one that key signed for img.
func readSeal(key ed25519.PrivateKey, img Image) (Seal, error) {
	b, err := os.ReadFile(filepath.Join(img.Dir, SealFile))
	if err != nil {
		return Seal{}, err
	}
	line, sig, _ := bytes.Cut(b, []byte{'\n'})
	if !verifySignature(key, append([]byte(SealContext), line...), string(sig)) {
		return Seal{}, fmt.Errorf("is not signed by this server: %w", fs.ErrInvalid)
	}
	var s Seal
	if err := json.Unmarshal(line, &s); err != nil {
		return Seal{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	if s.Ref != img.Ref || s.Digest != img.Digest {
		return Seal{}, fmt.Errorf("is that of %s with the digest %s: %w", s.Ref, s.Digest, fs.ErrInvalid)
	}
	if s.Chunk < 1 || int64(len(s.Sums)) != (s.Size+s.Chunk-1)/s.Chunk {
		return Seal{}, fmt.Errorf("has %d sums for %d bytes: %w", len(s.Sums), s.Size, fs.ErrInvalid)
	}
	return s, nil
}

// packed says whether img has a squashfs that a storage pair can export, with a seal that nodes believe.
func (c *Catalog) packed(img Image) bool {
	info, err := os.Lstat(filepath.Join(img.Dir, SquashfsFile))
	if err != nil || img.Squashfs == 0 || info.Size() != img.Squashfs {
		return false
	}
	if is, err := exportable(filepath.Join(img.Dir, SquashfsFile)); err != nil || !is {
		return false
	}
	s, err := readSeal(c.Key, img)
	return err == nil && s.Size == img.Squashfs
}

// seal compares the squashfs with its seal.
func (v *verifier) seal(ctx context.Context) error {
	if v.img.Squashfs == 0 {
		return nil // what a Pack left that was killed is nobody's; the next one replaces it
	}
	if v.catalog.Key == nil {
		return v.sealed(ctx, nil)
	}
	s, err := readSeal(v.catalog.Key, v.img)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v.add(SealFile, "missing")
	case err != nil:
		return v.add(SealFile, "changed: %v", err)
	}
	return v.sealed(ctx, &s)
}

// sealed compares the squashfs with want; nil when nothing can be known but its size.
func (v *verifier) sealed(ctx context.Context, want *Seal) error {
	file := filepath.Join(v.img.Dir, SquashfsFile)
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v.add(SquashfsFile, "missing")
	case err != nil:
		return fmt.Errorf("images: %w", err)
	case info.Size() != v.img.Squashfs || want != nil && info.Size() != want.Size:
		return v.add(SquashfsFile, "changed: %d bytes, were %d", info.Size(), v.img.Squashfs)
	case want == nil:
		return nil
	}
	is, err := newSeal(ctx, v.img, file)
	if err != nil {
		return err
	}
	for i, sum := range want.Sums {
		if i >= len(is.Sums) || is.Sums[i] != sum {
			return v.add(SquashfsFile, "changed: the bytes from %d on are others", int64(i)*want.Chunk)
		}
	}
	return nil
}
