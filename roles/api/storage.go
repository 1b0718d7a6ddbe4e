package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"muster/roles"
)

func (s *Server) listPairs(*http.Request) (any, error) { return list(s.Rack.Pairs()) }

func (s *Server) showPair(r *http.Request) (any, error) { return s.Rack.Pair(r.PathValue("pool")) }

func (s *Server) claimDisk(r *http.Request) (any, error) {
	var q ClaimRequest
	err := s.ofPair(r, &q, &q.Slot)
	if err == nil && q.Disk == "" {
		err = fmt.Errorf("disk is missing: the serial number of the disk that %s may erase: %w", q.Slot, fs.ErrInvalid)
	}
	if err = errors.Join(err, confirmed(q.Slot, q.Confirm, "all that is on the disk is lost")); err != nil {
		return nil, err
	}
	return s.Rack.ClaimDisk(r.Context(), q.Slot, q.Disk)
}

func (s *Server) promoteHalf(r *http.Request) (any, error) {
	var q PromoteRequest
	err := s.ofPair(r, &q, &q.Slot)
	if err = errors.Join(err, confirmed(q.Slot, q.Confirm, "what only the other half has is lost")); err != nil {
		return nil, err
	}
	return s.Rack.PromoteHalf(r.Context(), q.Slot, q.Off)
}

func (s *Server) keepHalf(r *http.Request) (any, error) {
	var q KeepRequest
	err := s.ofPair(r, &q, &q.Slot)
	if err = errors.Join(err, confirmed(q.Slot, q.Confirm, "what the other half wrote since they parted is lost")); err != nil {
		return nil, err
	}
	return s.Rack.KeepHalf(r.Context(), q.Slot)
}

func (s *Server) maintainHalf(r *http.Request) (any, error) {
	var q MaintenanceRequest
	if err := s.ofPair(r, &q, &q.Slot); err != nil {
		return nil, err
	}
	return s.Rack.MaintainHalf(r.Context(), q.Slot, q.On)
}

func (s *Server) verifyPair(r *http.Request) (any, error) {
	return s.Rack.VerifyPair(r.Context(), r.PathValue("pool"))
}

// ofPair decodes a request and checks that its slot is one of the pair in the path.
func (s *Server) ofPair(r *http.Request, q any, slot *string) error {
	if err := decode(r, q); err != nil {
		return err
	}
	p, err := s.Rack.Pair(r.PathValue("pool"))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Halves, func(h roles.HalfView) bool { return h.Slot == *slot }) {
		return fmt.Errorf("%q is no slot of the storage pair %s: %w", *slot, p.Pool, fs.ErrNotExist)
	}
	return nil
}

// confirmed refuses a request that loses data, unless it names the slot twice: no script does that by accident.
func confirmed(slot, confirm, lost string) error {
	if confirm == slot {
		return nil
	}
	return fmt.Errorf("%s: to confirm that, set confirm to %q: %w", lost, slot, fs.ErrInvalid)
}
