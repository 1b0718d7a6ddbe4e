package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"muster/images"
)

// refName is the annotation that holds an image's tag (OCI image specification, annotations.md).
const refName = "org.opencontainers.image.ref.name"

// Layout is images.Source for oci-layout:DIR, with :TAG or @sha256:… behind it where DIR holds several images.
// skopeo copy docker://… oci:DIR:TAG makes such directories, and so does unpacking what docker save writes.
type Layout struct{}

// Fill implements images.Source.
func (Layout) Fill(ctx context.Context, what, dir string, o images.FillOptions) (string, error) {
	from, tag, digest := splitLayout(what)
	img, err := openLayout(from, tag, digest)
	if err == nil {
		err = pull(ctx, img, dir, o)
	}
	if err != nil {
		return "", fmt.Errorf("oci: layout %s: %w", what, err)
	}
	got, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("oci: layout %s: %w", what, err)
	}
	return "oci-layout:" + from + "@" + got.String(), nil
}

// splitLayout takes apart DIR[:TAG|@DIGEST]. A directory whose own name has a colon is one.
func splitLayout(what string) (dir, tag, digest string) {
	if info, err := os.Stat(what); err == nil && info.IsDir() {
		return what, "", ""
	}
	if i := strings.LastIndex(what, "@sha256:"); i >= 0 {
		return what[:i], "", what[i+1:]
	}
	if i := strings.LastIndexByte(what, ':'); i >= 0 {
		return what[:i], what[i+1:], ""
	}
	return what, "", ""
}

func openLayout(dir, tag, digest string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not an OCI layout, a directory with index.json and blobs: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("its index.json is damaged: %w: %w", err, fs.ErrInvalid)
	}
	var found []v1.Descriptor
	var names []string
	for _, d := range m.Manifests {
		name := d.Annotations[refName]
		names = append(names, name+"@"+d.Digest.String())
		// Docker writes the whole reference: docker.io/library/debian:12.
		if tag == "" && digest == "" || tag != "" && (name == tag || strings.HasSuffix(name, ":"+tag)) || digest == d.Digest.String() {
			found = append(found, d)
		}
	}
	slices.Sort(names)
	if len(found) == 0 {
		return nil, fmt.Errorf("it has no such image, but has %s: %w", strings.Join(names, ", "), fs.ErrNotExist)
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(d v1.Descriptor) bool { return d.Platform == nil || !d.Platform.Satisfies(platform) })
		if len(found) != 1 {
			return nil, fmt.Errorf("it has %s: say which, by its tag or digest: %w", strings.Join(names, ", "), fs.ErrInvalid)
		}
	}
	return choose(index, found[0], 0)
}

// maxNested is how many indexes may lie in each other; one is usual.
const maxNested = 4

// choose gives the image that a descriptor means, or that for our platform of the index that it means.
func choose(index v1.ImageIndex, d v1.Descriptor, depth int) (v1.Image, error) {
	if !d.MediaType.IsIndex() {
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		raw, err := img.RawManifest()
		if err != nil {
			return nil, err
		}
		return img, check(raw, d.Digest)
	}
	inner, err := index.ImageIndex(d.Digest)
	if err != nil {
		return nil, err
	}
	raw, err := inner.RawManifest()
	if err == nil {
		err = check(raw, d.Digest)
	}
	if err != nil {
		return nil, err
	}
	m, err := inner.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("the index %s is damaged: %w: %w", d.Digest, err, fs.ErrInvalid)
	}
	for _, child := range m.Manifests {
		if depth < maxNested && (child.Platform == nil || child.Platform.Satisfies(platform)) {
			return choose(inner, child, depth+1)
		}
	}
	return nil, fmt.Errorf("the image is not there for %s: %w", platform, fs.ErrNotExist)
}

// check compares a manifest with the digest by which it was named.
func check(raw []byte, want v1.Hash) error {
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != want.Hex {
		return fmt.Errorf("the manifest %s is not what its digest says: it was damaged or changed: %w", want, fs.ErrInvalid)
	}
	return nil
}
