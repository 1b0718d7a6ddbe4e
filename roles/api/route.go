package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// Bounds of what a client may send.
const (
	// maxBody of a JSON request: the largest is a secret, a certificate with its chain and key.
	maxBody = 64 << 10
	// maxDeclaration in bytes of YAML: a rack of 10,000 declared nodes is about 1 MiB.
	maxDeclaration = 8 << 20
	// bodyTimeout is what a body may take to come. It is not the server's ReadTimeout, which would end
	// streams as well.
	bodyTimeout = 30 * time.Second
)

// applyPath is the one that takes a declaration.
const applyPath = "/v1/apply"

// metricsPath is where Prometheus looks by custom.
const metricsPath = "/metrics"

// route is one operation of the API. Every route is described in openapi.yaml; a test compares the two.
type route struct {
	method string
	// path is the pattern of http.ServeMux, and the path of OpenAPI: both write {key}.
	path  string
	serve func(w http.ResponseWriter, r *http.Request) error
}

func (s *Server) routes() []route {
	return []route{
		{"GET", "/v1/nodes", s.revised(s.listNodes)},
		{"GET", "/v1/nodes/{key}", s.revised(s.showNode)},
		{"DELETE", "/v1/nodes/{key}", s.forgetNode},
		{"GET", "/v1/nodes/{key}/boots", s.revised(s.listBoots)},
		{"GET", "/v1/nodes/{key}/boots/{id}", s.revised(s.showBoot)},
		{"POST", "/v1/nodes/{key}/assign", plain(s.assignNode)},
		{"POST", "/v1/nodes/{key}/release", plain(s.releaseNode)},
		{"POST", "/v1/nodes/{key}/replace", plain(s.replaceNode)},
		{"POST", "/v1/nodes/{key}/power", plain(s.switchPower)},
		{"POST", "/v1/nodes/{key}/restart", plain(s.restartNode)},
		{"POST", "/v1/nodes/{key}/sync", plain(s.syncNode)},
		{"GET", "/v1/pools", s.revised(s.listPools)},
		{"GET", "/v1/pools/{name}", s.revised(s.showPool)},
		{"GET", "/v1/pools/{name}/rollout", s.revised(s.showRollout)},
		{"POST", "/v1/pools/{name}/rollout", plain(s.startRollout)},
		{"POST", "/v1/pools/{name}/rollout/stop", plain(s.stopRollout)},
		{"POST", "/v1/pools/{name}/rollback", plain(s.rollbackPool)},
		{"GET", "/v1/rollouts", s.revised(s.listRollouts)},
		{"GET", "/v1/storage", s.live(s.listPairs)},
		{"GET", "/v1/storage/{pool}", s.live(s.showPair)},
		{"POST", "/v1/storage/{pool}/claim", plain(s.claimDisk)},
		{"POST", "/v1/storage/{pool}/promote", plain(s.promoteHalf)},
		{"POST", "/v1/storage/{pool}/keep", plain(s.keepHalf)},
		{"POST", "/v1/storage/{pool}/maintenance", plain(s.maintainHalf)},
		{"POST", "/v1/storage/{pool}/verify", plain(s.verifyPair)},
		{"POST", "/v1/storage/{pool}/backup", s.backupPair},
		{"POST", restorePath, plain(s.restorePair)},
		{"GET", "/v1/slots", s.revised(s.listSlots)},
		{"GET", "/v1/roles", s.revised(s.listRoles)},
		{"GET", "/v1/roles/{name}", s.revised(s.showRole)},
		{"GET", "/v1/images", plain(s.listImages)},
		{"GET", "/v1/images/{ref}", plain(s.showImage)},
		{"DELETE", "/v1/images/{ref}", s.removeImage},
		{"POST", "/v1/images/{role}/build", s.buildImage},
		{"POST", "/v1/images/{name}/import", s.importImage},
		{"POST", "/v1/images/{ref}/publish", plain(s.publishImage)},
		{"POST", "/v1/images/{name}/rollback", plain(s.rollbackImage)},
		{"POST", "/v1/images/{ref}/pack", plain(s.packImage)},
		{"GET", "/v1/images/{ref}/verify", plain(s.verifyImage)},
		{"GET", "/v1/images/{ref}/diff", plain(s.diffImages)},
		{"GET", "/v1/images/{ref}/log", s.imageLog},
		{"POST", "/v1/images/prune", plain(s.pruneImages)},
		{"GET", "/v1/secrets", s.revised(s.listSecrets)},
		{"PUT", "/v1/secrets/{scope}/{of}/{name}", plain(s.setSecret)},
		{"POST", "/v1/secrets/{scope}/{of}/{name}/rotate", plain(s.rotateSecret)},
		{"GET", "/v1/leases", plain(s.listLeases)},
		{"POST", "/v1/leases/{key}/release", plain(s.releaseLease)},
		{"POST", importLeasesPath, plain(s.importLeases)},
		{"GET", "/v1/trace", s.tracePackets},
		{"GET", "/v1/events", s.listEvents},
		{"POST", applyPath, plain(s.apply)},
		{"GET", "/v1/export", s.export},
		{"GET", "/v1/doctor", plain(s.examine)},
		{"GET", "/v1/healthz", plain(s.health)},
		{"GET", "/v1/version", plain(s.version)},
		{"GET", "/v1/openapi.yaml", serveOpenAPI},
		{"GET", metricsPath, s.gather},
	}
}

// answer makes the value that a request gets as JSON.
type answer func(r *http.Request) (any, error)

// plain serves an answer.
func plain(a answer) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		v, err := a(r)
		if err != nil {
			return err
		}
		return writeJSON(w, v)
	}
}

// revised serves an answer that comes from the store, with its ETag; ?rev= waits for a later one.
func (s *Server) revised(a answer) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		unchanged, err := s.await(w, r)
		if err != nil {
			return err
		}
		if unchanged {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return plain(a)(w, r)
	}
}

// live serves an answer of which a part is newer than the store: what machines said a moment ago. ?rev= waits for
// a later revision, but not for long, and the answer is always whole.
func (s *Server) live(a answer) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		rev, _, err := s.hold(r, liveWait)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", "W/"+etag(rev))
		w.Header().Set("Cache-Control", "no-store")
		return plain(a)(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	// The client is gone when this fails; nobody is left to tell.
	_, _ = w.Write(append(b, '\n'))
	return nil
}

// list makes nil an empty JSON array: a client may always range over it.
func list[T any](v []T, err error) (any, error) {
	if v == nil {
		v = []T{}
	}
	return v, err
}

// readBody takes a request's body into memory, within the bounds of the route, so that no handler waits for it.
func readBody(w http.ResponseWriter, r *http.Request, rt route) error {
	if rt.path == restorePath {
		return nil // an archive is read as it comes
	}
	limit := int64(maxBody)
	switch rt.path {
	case applyPath:
		limit = maxDeclaration
	case importLeasesPath:
		limit = maxLeaseFile
	}
	c := http.NewResponseController(w)
	// A writer without deadlines (a test's recorder) has its body already.
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return badBody(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	_ = c.SetReadDeadline(time.Time{})
	return nil
}

// decode reads a JSON body. Like in files, a field that does not exist is an error.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	return badBody(err)
}

// badBody says what is wrong with a request's body; nil for nil.
func badBody(err error) error {
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		err = fmt.Errorf("the request's body is larger than %d bytes: %w", tooLarge.Limit, fs.ErrInvalid)
		return &statusError{err, http.StatusRequestEntityTooLarge}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the request's body did not come within %v: %w", bodyTimeout, fs.ErrInvalid)
		return &statusError{err, http.StatusRequestTimeout}
	case errors.Is(err, io.EOF):
		return fmt.Errorf("the request has no body (want a JSON object): %w", fs.ErrInvalid)
	}
	return fmt.Errorf("the request's body: %v: %w", err, fs.ErrInvalid)
}
