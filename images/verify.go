package images

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

// Verify compares a version with its manifest, and the manifest with the digest in image.json. No problems
// and a nil error mean that every path is as it was published. It reads every file.
func (c *Catalog) Verify(ctx context.Context, ref Ref) ([]Problem, error) {
	img, err := c.Find(ref)
	if err != nil {
		return nil, err
	}
	want, digest, err := readManifest(filepath.Join(img.Dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return []Problem{{ManifestFile, "missing"}}, nil
	}
	if err != nil {
		return nil, err
	}
	var problems []Problem
	if digest != img.Digest {
		problems = append(problems, Problem{ManifestFile, fmt.Sprintf("changed: digest %s, want %s", digest, img.Digest)})
	}
	err = scan(ctx, img.Dir, func(e entry) error {
		line, known := want[e.path]
		delete(want, e.path)
		switch {
		case !known:
			problems = append(problems, Problem{e.path, "extra"})
		case line != e.String():
			problems = append(problems, Problem{e.path, fmt.Sprintf("changed: is %s, was %s", e, line)})
		}
		if len(problems) >= maxProblems {
			return errTooMany
		}
		return nil
	})
	if errors.Is(err, errTooMany) {
		return problems, nil
	}
	// A part that is gone as a whole shows in what is left of want.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for path := range want {
		if _, err := os.Lstat(filepath.Join(img.Dir, path)); errors.Is(err, fs.ErrNotExist) && len(problems) < maxProblems {
			problems = append(problems, Problem{path, "missing"})
		}
	}
	return problems, nil
}

var errTooMany = errors.New("too many problems")

// readManifest gives a manifest's lines by their path, and its digest.
func readManifest(file string) (lines map[string]string, digest string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	sc := bufio.NewScanner(io.TeeReader(f, h))
	sc.Buffer(nil, 1<<20) // a path and a full extended attribute, quoted
	lines = map[string]string{}
	for sc.Scan() {
		path, err := pathOf(sc.Text())
		if err != nil {
			return nil, "", fmt.Errorf("images: %s: %w", file, err)
		}
		lines[path] = sc.Text()
	}
	if err := sc.Err(); err != nil {
		return nil, "", fmt.Errorf("images: %s: %w", file, err)
	}
	return lines, "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// pathOf reads the path of a manifest's line.
func pathOf(line string) (string, error) {
	rest := line
	for range 3 { // kind, mode, owner
		_, after, found := strings.Cut(rest, " ")
		if !found {
			return "", fmt.Errorf("%q is no line of a manifest: %w", line, fs.ErrInvalid)
		}
		rest = after
	}
	// The detail: a quoted target, or one or two words.
	if strings.HasPrefix(rest, `"`) {
		target, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", fmt.Errorf("%q is no line of a manifest: %w", line, fs.ErrInvalid)
		}
		rest = rest[len(target):]
	}
	if i := strings.IndexByte(rest, '"'); i >= 0 {
		if q, err := strconv.QuotedPrefix(rest[i:]); err == nil {
			return strconv.Unquote(q)
		}
	}
	return "", fmt.Errorf("%q is no line of a manifest: %w", line, fs.ErrInvalid)
}
