package api

import (
	"io"
	"net/http"

	"muster/roles"
	"muster/roles/declare"
)

// yamlType is the media type of a declaration (RFC 9512).
const yamlType = "application/yaml"

// apply makes the rack what the YAML in the body says. ?file= names it in the messages.
func (s *Server) apply(r *http.Request) (any, error) {
	q := r.URL.Query()
	var o roles.ApplyOptions
	var err error
	if o.DryRun, err = flag(q, "dry-run"); err != nil {
		return nil, err
	}
	if o.Prune, err = flag(q, "prune"); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badBody(err)
	}
	file := q.Get("file")
	if file == "" {
		file = "body"
	}
	d, err := declare.Parse(text, file)
	if err != nil {
		return nil, asInvalid(err)
	}
	changes, err := s.Rack.Apply(r.Context(), d, o)
	if err != nil {
		return nil, declare.Explain(err, text, file)
	}
	return list(changes, nil)
}

// export writes the declared rack as the YAML that apply reads.
func (s *Server) export(w http.ResponseWriter, r *http.Request) error {
	unchanged, err := s.await(w, r)
	if err != nil {
		return err
	}
	if unchanged {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	d, err := s.Rack.Export()
	if err != nil {
		return err
	}
	text, err := declare.Encode(d)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", yamlType)
	_, _ = w.Write(text)
	return nil
}
