package api

import (
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

// listSecrets has no values: roles.Secret keeps its own out of JSON.
func (s *Server) listSecrets(*http.Request) (any, error) { return list(s.Rack.Secrets()) }

// secretKey is the key of the secret that a path names: pool/web/tls.
func secretKey(r *http.Request) string {
	return strings.Join([]string{r.PathValue("scope"), r.PathValue("of"), r.PathValue("name")}, "/")
}

func (s *Server) setSecret(r *http.Request) (any, error) {
	var q SecretRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if len(q.Value) == 0 {
		return nil, fmt.Errorf("secret %s: the value is empty: %w", secretKey(r), fs.ErrInvalid)
	}
	return s.Rack.SetSecret(r.Context(), secretKey(r), q.Value)
}

func (s *Server) rotateSecret(r *http.Request) (any, error) {
	return s.Rack.RotateSecret(r.Context(), secretKey(r))
}
