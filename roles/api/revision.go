package api

import (
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"
)

// pollWait is how long ?rev= holds a request: below the idle time-out of common middleboxes.
const pollWait = 25 * time.Second

// liveWait is how long ?rev= holds a request for what changes without a revision: about as often as a storage
// machine reports.
const liveWait = 2 * time.Second

// etag is the entity tag of a revision (RFC 9110 §8.8.3).
func etag(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

// await holds a request with ?rev= until the store is beyond that revision, and sets the answer's ETag. It
// reports whether the client has what there is already: the answer is then 304.
func (s *Server) await(w http.ResponseWriter, r *http.Request) (unchanged bool, err error) {
	rev, unchanged, err := s.hold(r, pollWait)
	if err != nil {
		return false, err
	}
	w.Header().Set("ETag", etag(rev))
	w.Header().Set("Cache-Control", "no-cache")
	return unchanged || r.Header.Get("If-None-Match") == etag(rev), nil
}

// hold waits for a revision above ?rev=, at most for wait, and gives the one that there is then; unchanged says
// that it is still that of ?rev=.
//
// The revision is read before the values are, so a client may get a value twice but misses none.
func (s *Server) hold(r *http.Request, wait time.Duration) (rev uint64, unchanged bool, err error) {
	rev = s.Rack.Revision()
	q := r.URL.Query().Get("rev")
	if q == "" {
		return rev, false, nil
	}
	known, err := strconv.ParseUint(q, 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("rev=%q is not a revision (want the number in the ETag): %w", q, fs.ErrInvalid)
	}
	// A revision from the future is one of another store: the answer is all there is.
	if known != rev {
		return rev, false, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.Rack.Watch(known):
	case <-timer.C:
	case <-r.Context().Done():
	}
	rev = s.Rack.Revision()
	return rev, rev == known, nil
}
