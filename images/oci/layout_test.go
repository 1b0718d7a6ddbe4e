package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"muster/images"
)

// newLayout is a layout with the images under their tags.
func newLayout(t testing.TB, tags map[string]v1.Image) (layout.Path, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	must(t, err)
	for tag, img := range tags {
		must(t, p.AppendImage(img, layout.WithAnnotations(map[string]string{refName: tag})))
	}
	return p, dir
}

func TestLayout(t *testing.T) {
	needsRoot(t)
	img, other := base(t), image(t, layer(t, file("other", "1")))
	digest, err := img.Digest()
	must(t, err)
	_, single := newLayout(t, map[string]v1.Image{"": img})
	p, several := newLayout(t, map[string]v1.Image{"base": img, "docker.io/library/other:1": other})
	// A multi-platform image is an index in the index.
	arm, err := mutate.ConfigFile(base(t), &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	must(t, err)
	must(t, p.AppendIndex(mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
	), layout.WithAnnotations(map[string]string{refName: "multi"})))

	for _, what := range []string{single, several + ":base", several + ":multi", several + "@" + digest.String()} {
		root := t.TempDir()
		origin, err := Layout{}.Fill(t.Context(), what, root, images.FillOptions{})
		if err != nil || !strings.HasPrefix(origin, "oci-layout:"+filepath.Dir(single)[:5]) || !strings.HasSuffix(origin, "layout@"+digest.String()) {
			t.Errorf("%s: %q, %v", what, origin, err)
		}
		if d := cmp.Diff(baseTree, tree(t, root)); d != "" {
			t.Error(d)
		}
	}
	if _, err := (Layout{}).Fill(t.Context(), several+":1", t.TempDir(), images.FillOptions{}); err != nil {
		t.Error("the tag of a whole reference:", err)
	}
	for what, says := range map[string]string{
		several:                    "say which",
		several + ":none":          "it has no such image, but has ",
		filepath.Dir(single):       "is not an OCI layout",
		"/no/such/layout:1":        "is not an OCI layout",
		single + "@sha256:0123":    "no such image",
		single + "/oci-layout:tag": "not a directory",
	} {
		_, err := Layout{}.Fill(t.Context(), what, t.TempDir(), images.FillOptions{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error with %q", what, err, says)
		}
		oneSentence(t, err)
	}
}

func TestDamagedLayout(t *testing.T) {
	needsRoot(t)
	img := base(t)
	manifest, err := img.Digest()
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	last, err := layers[1].Digest()
	must(t, err)
	for name, blob := range map[string]v1.Hash{"manifest": manifest, "layer": last} {
		_, dir := newLayout(t, map[string]v1.Image{"": img})
		path := filepath.Join(dir, "blobs/sha256", blob.Hex)
		b, err := os.ReadFile(path)
		must(t, err)
		b[len(b)-4] ^= ' ' // of JSON a letter's case, of gzip the length
		must(t, os.WriteFile(path, b, 0o644))
		root := t.TempDir()
		_, err = Layout{}.Fill(t.Context(), dir, root, images.FillOptions{})
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "damaged or changed") {
			t.Errorf("%s: %v", name, err)
		}
		if left := tree(t, root); len(left) > 0 {
			t.Errorf("%s: it left %q", name, left)
		}
		must(t, os.Remove(path))
		if _, err = (Layout{}).Fill(t.Context(), dir, root, images.FillOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
