package api

import (
	"cmp"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"muster/roles"
)

func (s *Server) listNodes(*http.Request) (any, error) { return list(s.Rack.Nodes()) }

func (s *Server) showNode(r *http.Request) (any, error) { return s.Rack.Node(r.PathValue("key")) }

func (s *Server) listBoots(r *http.Request) (any, error) {
	return list(s.Rack.Boots(r.PathValue("key")))
}

// latest is the name of a node's latest boot in a path.
const latest = "latest"

func (s *Server) showBoot(r *http.Request) (any, error) {
	var id uint64
	if v := r.PathValue("id"); v != latest {
		var err error
		if id, err = strconv.ParseUint(v, 10, 64); err != nil || id == 0 {
			return nil, fmt.Errorf("%q is not a boot (want its number, or %q): %w", v, latest, fs.ErrInvalid)
		}
	}
	return s.Rack.Boot(r.PathValue("key"), id)
}

func (s *Server) assignNode(r *http.Request) (any, error) {
	var q AssignRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.Rack.Assign(r.Context(), r.PathValue("key"), q.Pool, q.Slot)
}

func (s *Server) releaseNode(r *http.Request) (any, error) {
	return s.Rack.Release(r.Context(), r.PathValue("key"))
}

func (s *Server) replaceNode(r *http.Request) (any, error) {
	var q ReplaceRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.Rack.Replace(r.Context(), r.PathValue("key"), q.By)
}

func (s *Server) forgetNode(w http.ResponseWriter, r *http.Request) error {
	if err := s.Rack.Forget(r.Context(), r.PathValue("key")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) switchPower(r *http.Request) (any, error) {
	var q PowerRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	on, err := s.Rack.SwitchPower(r.Context(), r.PathValue("key"), q.Action)
	return PowerStatus{On: on}, err
}

func (s *Server) restartNode(r *http.Request) (any, error) {
	var q RestartRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return s.Rack.RestartNode(r.Context(), r.PathValue("key"), cmp.Or(q.Why, "an operator asked for it"))
}

// syncNode renders the node's files before it asks the node to fetch them: an operator learns at once that one
// of them does not work.
func (s *Server) syncNode(r *http.Request) (any, error) {
	n, err := s.Rack.Node(r.PathValue("key"))
	if err != nil {
		return nil, err
	}
	if n.Slot == "" {
		return nil, fmt.Errorf("%s has no slot, and files are those of a slot: %w", n.MAC, fs.ErrInvalid)
	}
	want, err := s.Rack.Files(r.Context(), n.Slot, n.Image)
	if err != nil {
		return nil, err
	}
	n, err = s.Rack.SyncNode(r.Context(), r.PathValue("key"))
	return SyncStatus{Node: n, Wanted: want.Revision}, err
}

func (s *Server) listPools(*http.Request) (any, error) { return list(s.Rack.Pools()) }

func (s *Server) showPool(r *http.Request) (any, error) { return s.Rack.Pool(r.PathValue("name")) }

func (s *Server) listSlots(*http.Request) (any, error) {
	pools, err := s.Rack.Pools()
	var slots []roles.SlotStatus
	for _, p := range pools {
		slots = append(slots, p.Slots...)
	}
	return list(slots, err)
}

func (s *Server) listRoles(*http.Request) (any, error) { return list(s.Rack.EffectiveRoles()) }

func (s *Server) showRole(r *http.Request) (any, error) {
	return s.Rack.EffectiveRole(r.PathValue("name"))
}
