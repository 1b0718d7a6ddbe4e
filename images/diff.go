package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Diff is what differs between two versions.
type Diff struct {
	// Packages by name; Files by path, relative to the root: ../vmlinuz and ../initrd.img are what boots it.
	Packages []PackageChange `json:"packages"`
	Files    []FileChange    `json:"files"`
}

// PackageChange is one Debian package; Old or New is empty where it is not installed.
type PackageChange struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// FileChange is one path. What is added, removed, or says what changed, for people: "mode 0755, was 0644".
type FileChange struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// Diff compares two versions by their manifests and their package databases; it reads no other file.
func (c *Catalog) Diff(ctx context.Context, a, b Ref) (Diff, error) {
	d, err := c.diff(ctx, a, b)
	if err != nil {
		return Diff{}, fmt.Errorf("images: diff %s %s: %w", a, b, err)
	}
	return d, nil
}

func (c *Catalog) diff(ctx context.Context, a, b Ref) (Diff, error) {
	was, err := c.Find(a)
	if err != nil {
		return Diff{}, err
	}
	is, err := c.Find(b)
	if err != nil {
		return Diff{}, err
	}
	d := Diff{Packages: []PackageChange{}, Files: []FileChange{}}
	if was.Digest == is.Digest {
		return d, nil
	}
	if d.Files, err = diffFiles(ctx, was, is); err != nil {
		return Diff{}, err
	}
	d.Packages, err = diffPackages(was, is)
	return d, err
}

// diffFiles reads both manifests side by side, with memory for one path of each.
func diffFiles(ctx context.Context, was, is Image) ([]FileChange, error) {
	all := []FileChange{}
	var x, y diffSide
	for side, img := range map[*diffSide]Image{&x: was, &y: is} {
		r, err := openManifest(filepath.Join(img.Dir, ManifestFile))
		if err != nil {
			return nil, err
		}
		defer r.close()
		side.r = r
	}
	if err := errors.Join(x.advance(), y.advance()); err != nil {
		return nil, err
	}
	for !x.done || !y.done {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		order := comparePaths(x.e.path, y.e.path)
		switch {
		case y.done || !x.done && order < 0:
			all = append(all, FileChange{rootPath(x.e.path), "removed"})
			if err := x.advance(); err != nil {
				return nil, err
			}
			continue
		case x.done || order > 0:
			all = append(all, FileChange{rootPath(y.e.path), "added"})
			if err := y.advance(); err != nil {
				return nil, err
			}
			continue
		}
		if what := changes(&x.e, &y.e); len(what) > 0 {
			all = append(all, FileChange{rootPath(y.e.path), strings.Join(what, "; ")})
		}
		next := (*diffSide).advance
		if x.e.kind == 'd' && y.e.kind == 'd' && x.e.sum == y.e.sum {
			next = (*diffSide).leave
		}
		if err := errors.Join(next(&x), next(&y)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rootPath makes a manifest's path one that is relative to the root.
func rootPath(path string) string {
	if path == TreeDir {
		return "."
	}
	if inner, is := strings.CutPrefix(path, TreeDir+"/"); is {
		return inner
	}
	return "../" + path
}

// diffSide is one of two manifests.
type diffSide struct {
	r    *manifestReader
	e    entry
	done bool
}

// advance goes to the next path.
func (d *diffSide) advance() error {
	e, err := d.r.next()
	if errors.Is(err, io.EOF) {
		d.e, d.done = entry{}, true
		return nil
	}
	d.e = e
	return err
}

// leave goes to the first path that is not in the directory at hand, without taking lines apart.
func (d *diffSide) leave() error {
	_, _, path := lineFields([]byte(d.r.line))
	begin := strings.TrimSuffix(path[:quotedLen(path)], `"`) + "/"
	for d.r.scan() {
		if _, _, path := lineFields([]byte(d.r.line)); strings.HasPrefix(path, begin) {
			continue
		}
		e, err := parseEntry(d.r.line)
		d.e = e
		return err
	}
	d.e, d.done = entry{}, true
	if err := d.r.end(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
