package httpboot

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"muster/httpboot/agent"
)

// Handler gives the server's routes; Serve uses it. Most callers want Serve, which also bounds connections.
func (s *Server) Handler() (http.Handler, error) {
	if err := s.setup(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ipxe", s.answer("ipxe", s.ipxe))
	mux.HandleFunc("POST "+agent.PathHello, s.answer("hello", s.hello))
	mux.HandleFunc("POST "+agent.PathSpec, s.answer("spec", s.poll))
	mux.HandleFunc("POST "+agent.PathEvents, s.answer("events", s.report))
	mux.HandleFunc("POST "+agent.PathClaim, s.answer("claim", secured(s.claim)))
	mux.HandleFunc("POST "+agent.PathNode, s.answer("node", secured(s.present)))
	mux.HandleFunc("POST "+agent.PathPair, s.answerWithin(pairTimeout, "pair", secured(s.pair)))
	mux.HandleFunc("GET /images/{name}/{version}/{file}", s.image)
	mux.HandleFunc("GET /nbp/{file}", s.nbp)
	mux.HandleFunc("GET /files/{file...}", s.file)
	mux.HandleFunc("/", s.answer("unknown", func(http.ResponseWriter, *http.Request) error {
		return &kindError{"no such page on a boot server", fs.ErrNotExist}
	}))
	return mux, nil
}

// answer makes a handler of a function that answers or returns an error.
func (s *Server) answer(endpoint string, fn func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return s.answerWithin(answerTimeout, endpoint, fn)
}

// answerWithin is answer for one that may take as long as limit.
func (s *Server) answerWithin(limit time.Duration, endpoint string, fn func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setDeadlines(w, r, limit)
		if err := fn(w, r); err != nil {
			s.fail(w, r, endpoint, err)
			return
		}
		s.metrics.request(endpoint, http.StatusOK)
	}
}

// setDeadlines bounds the time for the answer, and for what is still to come of the request: net/http reads
// that before it ends an answer, however slowly it comes. Each request sets its own, as a connection keeps
// the last one. A ResponseWriter without deadlines is a test's.
func setDeadlines(w http.ResponseWriter, r *http.Request, answer time.Duration) {
	rc := http.NewResponseController(w)
	rc.SetWriteDeadline(time.Now().Add(answer))
	// Without a body net/http already listens for the client's end; a deadline would be taken for that.
	if r.Body != http.NoBody {
		rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// Status gives the HTTP status of an error's kind: ErrNotExist 404, ErrExist 409, ErrInvalid 400,
// ErrPermission 403; everything else is 500.
func Status(err error) int {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrExist):
		return http.StatusConflict
	case errors.Is(err, fs.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// kindError is a sentence for the client with its kind.
type kindError struct {
	text string
	kind error
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }

// fail answers with err, in full where the client can act on it; the details of anything else are only in
// the log.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, endpoint string, err error) {
	code := Status(err)
	text := err.Error()
	switch {
	case code != http.StatusInternalServerError:
		s.Log.Debug("refused", "endpoint", endpoint, "remote", r.RemoteAddr, "status", code, "err", err)
	case r.Context().Err() != nil:
		// The client left, or the server stops: nobody's fault.
		code, text = http.StatusServiceUnavailable, "the boot server stops"
	default:
		text = "internal error; the boot server's log says more"
		s.Log.Error("request failed", "endpoint", endpoint, "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
	}
	s.metrics.request(endpoint, code)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write([]byte(text + "\n"))
}

// remote is the client's address; the zero Addr when it has none.
func remote(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	return ap.Addr().Unmap()
}

// local is the address that the request came in on.
func local(r *http.Request) netip.AddrPort {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
