package api

import (
	_ "embed"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// OpenAPI describes the API (OpenAPI 3.0). It is served at /v1/openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", yamlType)
	_, _ = w.Write(OpenAPI)
	return nil
}

// gather writes the metrics in the format that the request asks for.
func (s *Server) gather(w http.ResponseWriter, r *http.Request) error {
	if s.Gatherer == nil {
		return fmt.Errorf("this server keeps no metrics: %w", fs.ErrNotExist)
	}
	promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

func (s *Server) examine(r *http.Request) (any, error) {
	if s.Doctor == nil {
		return nil, fmt.Errorf("this server has no doctor: %w", fs.ErrNotExist)
	}
	return list(s.Doctor(r.Context()))
}

func (s *Server) health(*http.Request) (any, error) {
	// Reading proves more than answering: the store is there.
	if _, err := s.Rack.Pools(); err != nil {
		return nil, err
	}
	return Liveness{Status: StatusOK, Revision: s.Rack.Revision()}, nil
}

func (s *Server) version(*http.Request) (any, error) {
	return Version{Version: s.Version, Started: s.Started}, nil
}
