package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Problem is one path of an image that is not as it was published.
type Problem struct {
	// Path is relative to the version's directory; it may hold any byte but NUL.
	Path string
	// What is wrong, for people: "missing", "extra", or what changed, with both values.
	What string
}

// String quotes the path: it may hold newlines.
func (p Problem) String() string { return strconv.QuoteToASCII(p.Path) + ": " + p.What }

// maxProblems bounds what Verify collects: a tree that is gone has as many as files.
const maxProblems = 1000

// Verify compares a version with its manifest, the manifest with the digest in image.json, that with the
// signature where the catalog has a key, and the squashfs, where there is one, with its seal. No problems and a
// nil error mean that every path is as it was published. It reads every file.
func (c *Catalog) Verify(ctx context.Context, ref Ref) ([]Problem, error) {
	img, err := c.Find(ref)
	if err != nil {
		return nil, err
	}
	v := verifier{catalog: c, img: img}
	if err := v.run(ctx); err != nil && !errors.Is(err, errTooMany) {
		return nil, err
	}
	return v.problems, nil
}

// verifier collects the problems of one version.
type verifier struct {
	catalog  *Catalog
	img      Image
	problems []Problem
}

var errTooMany = errors.New("too many problems")

// add notes a problem; errTooMany says that there are enough.
func (v *verifier) add(path, format string, args ...any) error {
	v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
	if len(v.problems) >= maxProblems {
		return errTooMany
	}
	return nil
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.records(); err != nil {
		return err
	}
	if err := v.names(); err != nil {
		return err
	}
	if err := v.paths(ctx); err != nil {
		return err
	}
	return v.seal(ctx)
}

// records checks manifest, image.json and signature against each other.
func (v *verifier) records() error {
	t, err := checkManifest(filepath.Join(v.img.Dir, ManifestFile))
	switch {
	case errors.Is(err, errOldManifest):
		err = v.add(ManifestFile, "made by an older muster: rebuild the image: muster image build %s", v.img.Ref.Name)
	case errors.Is(err, fs.ErrNotExist):
		err = v.add(ManifestFile, "missing")
	case errors.Is(err, fs.ErrInvalid):
		err = v.add(ManifestFile, "changed: %v", err)
	case err != nil:
	case t.digest != v.img.Digest:
		err = v.add(ManifestFile, "changed: digest %s, want %s", t.digest, v.img.Digest)
	default:
		stated := manifestTotals{v.img.Digest, v.img.Files, v.img.Size, v.img.KernelSize, v.img.InitrdSize}
		if stated != t {
			err = v.add(ImageFile, "changed: its sizes are not those of the manifest")
		}
	}
	if err != nil || v.catalog.Key == nil {
		return err
	}
	if what := checkSignature(v.catalog.Key, v.img.Dir, v.img.Ref, v.img.Digest); what != "" {
		return v.add(SignatureFile, "%s", what)
	}
	return nil
}

// records and boot files are all that may be in a version's directory.
var versionFiles = []string{TreeDir, KernelFile, InitrdFile, ManifestFile, ImageFile, SignatureFile, SquashfsFile, SealFile, LogFile}

// names looks for what does not belong into the version's directory.
func (v *verifier) names() error {
	entries, err := os.ReadDir(v.img.Dir)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains(versionFiles, e.Name()) && !strings.HasPrefix(e.Name(), partialPrefix) {
			if err := v.add(e.Name(), "extra"); err != nil {
				return err
			}
		}
	}
	return nil
}

// paths compares what is there with the manifest, both in the manifest's order.
func (v *verifier) paths(ctx context.Context) error {
	want := expected{verifier: v}
	r, err := openManifest(filepath.Join(v.img.Dir, ManifestFile))
	if err != nil {
		return nil // that is a problem already
	}
	defer r.close()
	want.r = r
	if err := want.advance(); err != nil {
		return err
	}
	s := scanner{dir: v.img.Dir}
	if err := s.run(ctx, want.compare); err != nil {
		return err
	}
	return want.missing("")
}

// expected is the manifest, going by.
type expected struct {
	*verifier
	r    *manifestReader
	next entry
	done bool
}

func (x *expected) advance() error {
	e, err := x.r.next()
	switch {
	case errors.Is(err, io.EOF):
		x.done = true
	case errors.Is(err, fs.ErrInvalid): // a line that records has told
		x.done = true
	case err != nil:
		return err
	}
	x.next = e
	return nil
}

// missing notes what the manifest has before path; everything, for the empty path.
func (x *expected) missing(path string) error {
	for !x.done && (path == "" || comparePaths(x.next.path, path) < 0) {
		if err := x.add(x.next.path, "missing"); err != nil {
			return err
		}
		if err := x.advance(); err != nil {
			return err
		}
	}
	return nil
}

// compare takes the next path that is there.
func (x *expected) compare(is *entry) error {
	if err := x.missing(is.path); err != nil {
		return err
	}
	if x.done || x.next.path != is.path {
		return x.add(is.path, "extra")
	}
	was := x.next
	if err := x.advance(); err != nil {
		return err
	}
	if what := changes(&was, is); len(what) > 0 {
		return x.add(is.path, "changed: %s", strings.Join(what, "; "))
	}
	return nil
}
