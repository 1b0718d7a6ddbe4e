package api

import (
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"muster/images"
)

// publishImage makes a version the one that its name alone means.
func (s *Server) publishImage(r *http.Request) (any, error) {
	ref, err := s.ref(r)
	if err != nil {
		return nil, err
	}
	if err := s.Images.SetCurrent(ref); err != nil {
		return nil, err
	}
	return s.Images.Find(ref)
}

// rollbackImage makes the version current that was before.
func (s *Server) rollbackImage(r *http.Request) (any, error) {
	ref, err := s.parseRef(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if ref.Version != 0 {
		return nil, fmt.Errorf("%s names a version: a rollback is of %s; to make %s current, publish it: %w", ref, ref.Name, ref, fs.ErrInvalid)
	}
	return s.Images.Rollback(ref.Name)
}

// packImage answers when the squashfs is there. A client that goes away cancels it.
func (s *Server) packImage(r *http.Request) (any, error) {
	ref, err := s.ref(r)
	if err != nil {
		return nil, err
	}
	im, err := s.Images.Find(ref)
	if err != nil {
		return nil, err
	}
	return s.Images.Pack(r.Context(), im.Ref)
}

// verifyImage answers when every file was read. A client that goes away cancels it.
func (s *Server) verifyImage(r *http.Request) (any, error) {
	ref, err := s.ref(r)
	if err != nil {
		return nil, err
	}
	im, err := s.Images.Find(ref)
	if err != nil {
		return nil, err
	}
	// That version, also when another one becomes current meanwhile.
	problems, err := s.Images.Verify(r.Context(), im.Ref)
	if err != nil {
		return nil, err
	}
	return Verified(im, problems), nil
}

// Verified is an image with what Catalog.Verify found.
func Verified(im images.Image, problems []images.Problem) Verification {
	v := Verification{Image: im, Problems: []Problem{}}
	for _, p := range problems {
		v.Problems = append(v.Problems, Problem{plainPath(p.Path), p.What})
	}
	return v
}

// plainPath is a path that JSON and a terminal can show, and that is still the same path.
func plainPath(path string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(path) || strings.ContainsFunc(path, odd) || strings.HasPrefix(path, `"`) {
		return strconv.QuoteToASCII(path)
	}
	return path
}

// diffImages compares the image of the path with that of ?to=.
func (s *Server) diffImages(r *http.Request) (any, error) {
	a, err := s.ref(r)
	if err != nil {
		return nil, err
	}
	to := r.URL.Query().Get("to")
	if to == "" {
		return nil, fmt.Errorf("to= is missing: the image to compare %s with: %w", a, fs.ErrInvalid)
	}
	b, err := s.parseRef(to)
	if err != nil {
		return nil, err
	}
	d, err := s.Images.Diff(r.Context(), a, b)
	if d.Packages == nil {
		d.Packages = []images.PackageChange{}
	}
	if d.Files == nil {
		d.Files = []images.FileChange{}
	}
	for i, f := range d.Files {
		d.Files[i].Path = plainPath(f.Path)
	}
	return d, err
}

// pruneImages removes what nothing uses.
func (s *Server) pruneImages(r *http.Request) (any, error) {
	var q PruneRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if err := s.hasImages(); err != nil {
		return nil, err
	}
	if q.Name != "" && !images.ValidName(q.Name) {
		return nil, fmt.Errorf("%q is not an image name: %w", q.Name, fs.ErrInvalid)
	}
	if q.Keep < 0 {
		return nil, fmt.Errorf("keep is %d: want 1 or more: %w", q.Keep, fs.ErrInvalid)
	}
	return list(s.Images.Prune(r.Context(), images.PruneOptions{
		Name: q.Name, Keep: q.Keep, DryRun: q.DryRun, InUse: s.Rack.InUse,
	}))
}

// removeImage removes one version, unless something uses it.
func (s *Server) removeImage(w http.ResponseWriter, r *http.Request) error {
	ref, err := s.exact(r)
	if err != nil {
		return err
	}
	if why := s.Rack.InUse(ref); why != "" {
		return fmt.Errorf("%s stays: %s: %w", ref, why, fs.ErrExist)
	}
	if err := s.Images.Remove(ref); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// exact is the version that a path names: a name alone is refused, where it may mean another version than the
// operator thinks.
func (s *Server) exact(r *http.Request) (images.Ref, error) {
	ref, err := s.ref(r)
	if err != nil {
		return ref, err
	}
	im, err := s.Images.Find(ref)
	if err == nil && ref.Version == 0 {
		err = fmt.Errorf("%s names no version (%s is current): %w", ref, im.Ref, fs.ErrInvalid)
	}
	return im.Ref, err
}
