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
	ref, err := images.ParseRef(r.PathValue("ref"))
	if err != nil {
		return nil, asInvalid(err)
	}
	if s.Images == nil {
		return nil, fmt.Errorf("this server has no images: %w", fs.ErrNotExist)
	}
	return s.Images.Find(ref)
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
	send(BuildLine{Progress: &BuildProgress{Step: "start", Message: "building the image of role " + role}})
	im, err := s.Build(ctx, role, func(p BuildProgress) { send(BuildLine{Progress: &p}) })
	if err != nil {
		e := newError(err)
		send(BuildLine{Error: e.Message, Kind: e.Kind})
		s.log().Warn("image build failed", "role", role, "err", err)
		return nil
	}
	send(BuildLine{Image: &im})
	return nil
}
