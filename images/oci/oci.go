// Package oci fills a root from a container image (OCI image specification 1.1, and Docker's schema 2): from
// a registry, by the OCI distribution specification, or from a layout directory. The layers stream from the
// network straight into the directory; each one's digest, which the image's manifest states, is checked before
// the next begins, and a root whose layer is not what it should be is emptied.
//
// Of an image for several platforms linux/amd64 is taken. What an image says to run (entry point, environment,
// user) is not heeded: a node runs an init. Signatures of images (cosign, notation) are not checked; a
// reference with @sha256:… says exactly what is meant. It deliberately does not read Docker's schema 1, layers
// that lie somewhere else than the image ("foreign") and encrypted ones.
package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"muster/images"
	"muster/images/unpack"
)

// platform is the only one that images are made for so far.
var platform = v1.Platform{OS: "linux", Architecture: "amd64"}

// layerTypes are the media types of layers that are archives.
var layerTypes = []types.MediaType{
	types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
}

// pull applies an image's layers to dir, an empty directory, which it empties when it fails.
func pull(ctx context.Context, img v1.Image, dir string, o images.FillOptions) (err error) {
	layers, size, err := inspect(img)
	if err != nil {
		return err
	}
	root, err := unpack.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	p := &progress{tell: o.Progress, size: size}
	for i, l := range layers {
		p.message = fmt.Sprintf("layer %d of %d", i+1, len(layers))
		if err := apply(ctx, root, l, p, o.Log); err != nil {
			return errors.Join(fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err), clearDir(dir))
		}
	}
	return nil
}

// inspect says whether an image can be a root, before anything of it is fetched but its manifest and its
// configuration.
func inspect(img v1.Image) (layers []v1.Layer, size int64, err error) {
	m, err := img.Manifest()
	if err != nil {
		return nil, 0, err
	}
	if !m.Config.MediaType.IsConfig() {
		return nil, 0, fmt.Errorf("it is no container image, but holds %s: %w", m.Config.MediaType, fs.ErrInvalid)
	}
	c, err := img.ConfigFile()
	if err != nil {
		return nil, 0, err
	}
	if c.OS != "" && c.OS != platform.OS || c.Architecture != "" && c.Architecture != platform.Architecture {
		return nil, 0, fmt.Errorf("it is for %s/%s, and nodes run %s: %w", c.OS, c.Architecture, platform, fs.ErrInvalid)
	}
	for _, l := range m.Layers {
		if !slices.Contains(layerTypes, l.MediaType) {
			return nil, 0, fmt.Errorf("its layer %s is of the type %s, which is no file system that can be read: %w", l.Digest, l.MediaType, fs.ErrInvalid)
		}
		size += l.Size
	}
	if layers, err = img.Layers(); err == nil && len(layers) == 0 {
		err = fmt.Errorf("it has no layers: %w", fs.ErrInvalid)
	}
	return layers, size, err
}

// apply streams one layer into the root.
func apply(ctx context.Context, root *unpack.Root, l v1.Layer, p *progress, log io.Writer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	sum := &sumReader{r: io.TeeReader(r, p), sum: sha256.New()}
	_, err = root.Apply(ctx, sum, unpack.Options{Whiteouts: true, Log: log})
	if sum.err != nil {
		err = sum.err // of the network, and not what the archive looked like because of it
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ofDisk(err) {
		return err
	}
	// What the archive's reader left, which is nothing if all is well. A wrong digest explains a wrong
	// archive, so it is told first.
	rest, _ := io.Copy(io.Discard, io.LimitReader(sum, maxRest))
	switch {
	case sum.err != nil:
		return sum.err
	case rest == maxRest && err != nil:
		return err // and what the digest would have been is not known
	}
	if got := hex.EncodeToString(sum.sum.Sum(nil)); got != digest.Hex {
		return fmt.Errorf("its content has the digest sha256:%s instead of %s: it was damaged or changed: %w", got, digest, fs.ErrInvalid)
	}
	return err
}

// ofDisk says that it was this machine that failed, whatever the layer is.
func ofDisk(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS}, func(e error) bool { return errors.Is(err, e) })
}

// maxRest is how much of a layer is read behind the archive's end to know the digest.
const maxRest = 1 << 30

// sumReader digests what goes through it and remembers why it ended early.
type sumReader struct {
	r   io.Reader
	sum hash.Hash
	err error
}

// Read implements io.Reader.
func (s *sumReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.sum.Write(b[:n])
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// progress counts bytes of the whole image.
type progress struct {
	tell       func(int, string)
	message    string
	size, done int64
	percent    int
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	percent := 0
	if p.size > 0 {
		percent = int(min(p.done, p.size) * 100 / p.size)
	}
	if p.tell != nil && (percent > p.percent || p.done == int64(len(b))) {
		p.percent = percent
		p.tell(percent, fmt.Sprintf("%s: %d of %d MB", p.message, p.done>>20, p.size>>20))
	}
	return len(b), nil
}

// clearDir removes what is in a directory.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
