package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"muster/images"
	"muster/roles"
)

func (s *Server) showRollout(r *http.Request) (any, error) {
	return s.Rack.Rollout(r.PathValue("name"))
}

// listRollouts gives the latest rollout of every pool that had one.
func (s *Server) listRollouts(*http.Request) (any, error) {
	pools, err := s.Rack.Pools()
	if err != nil {
		return nil, err
	}
	out := []roles.Rollout{}
	for _, p := range pools {
		switch ro, err := s.Rack.Rollout(p.Name); {
		case err == nil:
			out = append(out, ro)
		case !errors.Is(err, fs.ErrNotExist): // it had none, or is gone since
			return nil, err
		}
	}
	return out, nil
}

func (s *Server) startRollout(r *http.Request) (any, error) {
	var q RolloutRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	pool := r.PathValue("name")
	o, err := s.rolloutOptions(pool, q)
	if err != nil {
		return nil, err
	}
	return s.Rack.StartRollout(r.Context(), pool, o)
}

// rolloutOptions checks a request, and tells every fault.
func (s *Server) rolloutOptions(pool string, q RolloutRequest) (roles.RolloutOptions, error) {
	o := roles.RolloutOptions{Canary: q.Canary, Batch: q.Batch, Timeout: q.Timeout}
	var errs []error
	for name, n := range map[string]int64{"canary": int64(q.Canary), "batch": int64(q.Batch), "timeout": int64(q.Timeout)} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %w", name, fs.ErrInvalid))
		}
	}
	var err error
	if q.Image == "" {
		o.Image.Name, err = s.imageOf(pool)
	} else if o.Image, err = images.ParseRef(q.Image); err != nil {
		err = asInvalid(err)
	}
	return o, errors.Join(append(errs, err)...)
}

// imageOf is the name of the image of a pool's role.
func (s *Server) imageOf(pool string) (string, error) {
	p, err := s.Rack.Pool(pool)
	if err != nil {
		return "", err
	}
	role, err := s.Rack.EffectiveRole(p.Role)
	return role.ImageName(), err
}

func (s *Server) stopRollout(r *http.Request) (any, error) {
	return s.Rack.StopRollout(r.Context(), r.PathValue("name"))
}

func (s *Server) rollbackPool(r *http.Request) (any, error) {
	return s.Rack.RollbackPool(r.Context(), r.PathValue("name"))
}
