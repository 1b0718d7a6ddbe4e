package api

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"muster/images"
)

func (s *Server) listImages(*http.Request) (any, error) {
	if s.Images == nil {
		return list[images.Image](nil, nil)
	}
	return list(s.Images.List())
}

func (s *Server) showImage(r *http.Request) (any, error) {
	ref, err := s.ref(r)
	if err != nil {
		return nil, err
	}
	return s.Images.Find(ref)
}

// ref is the image that a path names. With no error there is a catalog to look it up in.
func (s *Server) ref(r *http.Request) (images.Ref, error) { return s.parseRef(r.PathValue("ref")) }

func (s *Server) parseRef(text string) (images.Ref, error) {
	ref, err := images.ParseRef(text)
	if err != nil {
		return ref, asInvalid(err)
	}
	return ref, s.hasImages()
}

func (s *Server) hasImages() error {
	if s.Images == nil {
		return fmt.Errorf("this server has no images: %w", fs.ErrNotExist)
	}
	return nil
}

// buildImage streams a build. It lasts as long as the request does: a client that goes away cancels it.
func (s *Server) buildImage(w http.ResponseWriter, r *http.Request) error {
	role := r.PathValue("role")
	if s.Build == nil {
		return fmt.Errorf("this server builds no images: %w", fs.ErrNotExist)
	}
	if _, err := s.Rack.EffectiveRole(role); err != nil {
		return err
	}
	s.stream(w, r, "building the image of role "+role, func(ctx context.Context, progress func(BuildProgress)) (images.Image, error) {
		return s.Build(ctx, role, progress)
	})
	return nil
}

// importImage streams the making of an image from something that exists, like a build.
func (s *Server) importImage(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if s.Import == nil {
		return fmt.Errorf("this server imports no images: %w", fs.ErrNotExist)
	}
	if !images.ValidName(name) {
		return fmt.Errorf("%q is not an image name (want lower-case letters, digits and hyphens): %w", name, fs.ErrInvalid)
	}
	var recipe images.Recipe
	if err := decode(r, &recipe); err != nil {
		return err
	}
	if recipe.From == "" {
		return fmt.Errorf("the recipe has no from (want oci:REFERENCE, tar:FILE, …): %w", fs.ErrInvalid)
	}
	s.stream(w, r, "importing "+name+" from "+recipe.From, func(ctx context.Context, progress func(BuildProgress)) (images.Image, error) {
		return s.Import(ctx, name, recipe, progress)
	})
	return nil
}

// stream runs a build and writes its lines.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, what string, build func(context.Context, func(BuildProgress)) (images.Image, error)) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := newStream(w)
	// The builder may report from several goroutines.
	var mu sync.Mutex
	send := func(l BuildLine) {
		mu.Lock()
		defer mu.Unlock()
		if out.line(l) != nil {
			cancel()
		}
	}
	send(BuildLine{Progress: &BuildProgress{Step: "start", Message: what}})
	im, err := build(ctx, func(p BuildProgress) { send(BuildLine{Progress: &p}) })
	if err != nil {
		e := newError(err)
		send(BuildLine{Error: e.Message, Kind: e.Kind})
		s.log().Warn("image build failed", "what", what, "err", err)
		return
	}
	send(BuildLine{Image: &im})
}
