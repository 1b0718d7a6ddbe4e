package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// sealSize bounds a seal: 16 MiB have the sums of some 200,000 chunks.
const sealSize = 16 << 20

// chunkMax bounds a chunk, which is in memory as a whole until it is verified.
const chunkMax = 64 << 20

// loadSeal gets the seal of s' image from a boot server and verifies it by the key of the kernel command line.
func (a *Agent) loadSeal(ctx context.Context, s *Spec) (*Seal, error) {
	if len(a.params.Key) == 0 {
		return nil, fmt.Errorf("agent: the kernel command line has no %s=: an image that nobody signed is not started: %w",
			ParamKey, fs.ErrInvalid)
	}
	b, err := a.client.get(ctx, callTimeout, s.RAM.Seal, sealSize)
	if err != nil {
		return nil, fmt.Errorf("seal of %s: %w", s.Image, err)
	}
	seal, err := openSeal(b, a.params.Key)
	if err == nil {
		err = seal.fits(s)
	}
	if err != nil {
		return nil, fmt.Errorf("seal of %s from %s: %w", s.Image, a.client.server(), err)
	}
	return seal, nil
}

// openSeal verifies a seal, and reads it only then. The error wraps fs.ErrPermission when the signature is not
// key's.
func openSeal(b []byte, key ed25519.PublicKey) (*Seal, error) {
	text, rest, _ := bytes.Cut(b, []byte("\n"))
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	sig, err := base64.StdEncoding.Strict().DecodeString(string(line))
	if err != nil || len(sig) != ed25519.SignatureSize || len(rest) > 0 {
		return nil, fmt.Errorf("it is no seal: %w", fs.ErrInvalid)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(SealContext), text...), sig) {
		return nil, fmt.Errorf("its signature is not by the key of this boot, %s=%s: %w",
			ParamKey, base64.RawURLEncoding.EncodeToString(key), fs.ErrPermission)
	}
	var s Seal
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("it is signed, and not what this agent understands: %w: %w", fs.ErrInvalid, err)
	}
	return &s, s.check()
}

// check says what is wrong with a seal that is signed. The error wraps fs.ErrInvalid.
func (s *Seal) check() error {
	if s.Size <= 0 || s.Chunk <= 0 || s.Chunk > chunkMax {
		return fmt.Errorf("%d bytes in chunks of %d make no sense: %w", s.Size, s.Chunk, fs.ErrInvalid)
	}
	if want := (s.Size-1)/s.Chunk + 1; int64(len(s.Sums)) != want {
		return fmt.Errorf("it has %d sums of chunks, %d are needed: %w", len(s.Sums), want, fs.ErrInvalid)
	}
	for i, sum := range s.Sums {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 {
			return fmt.Errorf("the sum of chunk %d is no SHA-256: %w", i+1, fs.ErrInvalid)
		}
	}
	return nil
}

// fits says whether a seal is that of the image which is to boot: an old one has a good signature, too.
func (s *Seal) fits(spec *Spec) error {
	var errs []error
	if s.Ref != spec.Image {
		errs = append(errs, fmt.Errorf("it is the one of %s: %w", s.Ref, fs.ErrInvalid))
	}
	if s.Size != spec.RAM.Size {
		errs = append(errs, fmt.Errorf("it is for %d bytes, the boot spec says %d: %w", s.Size, spec.RAM.Size, fs.ErrInvalid))
	}
	return errors.Join(errs...)
}
