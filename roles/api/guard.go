package api

import (
	"crypto/subtle"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"muster/roles/api/page"
)

// guard lets in on TCP who has the token or, where there is none, who is on this machine and meant to come: a
// web page in a browser on this machine is refused, whatever name it gave the address (DNS rebinding). Without a token
// everybody gets what monitoring reads (numbers, some by the name of a pool or of a storage slot), and the files of our own
// page, which asks for the token.
func (s *Server) guard(h http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	open := map[string]bool{}
	for _, path := range append(page.Paths(), metricsPath, "/v1/healthz") {
		open[path] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A browser shall not guess that what a machine said is a page.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		limit(w, time.Now())
		err := cross.Check(r)
		if err != nil {
			err = fmt.Errorf("%v: %w", err, fs.ErrPermission)
		} else if s.Token != "" && !open[r.URL.Path] {
			err = checkToken(r, s.Token)
		} else if s.Token == "" {
			err = checkHost(r.Host)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		if !open[r.URL.Path] {
			limit(w, time.Time{})
		}
		h.ServeHTTP(w, r)
	})
}

// limit gives a stranger's request a time to send its body and one to take its answer: without, maxConns of them that do
// neither would keep everybody out. From zero takes the limits away; streams and archives last.
func limit(w http.ResponseWriter, from time.Time) {
	read, write := from, from
	if !from.IsZero() {
		read, write = from.Add(bodyTimeout), from.Add(writeWait)
	}
	c := http.NewResponseController(w)
	// A writer without deadlines (a test's recorder) has nobody who is slow.
	_, _ = c.SetReadDeadline(read), c.SetWriteDeadline(write)
}

func checkToken(r *http.Request, token string) error {
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		err := fmt.Errorf("this address wants a token: %w", fs.ErrPermission)
		return &statusError{err, http.StatusUnauthorized}
	}
	if subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
		err := fmt.Errorf("wrong token: %w", fs.ErrPermission)
		return &statusError{err, http.StatusUnauthorized}
	}
	return nil
}

// checkHost refuses a Host that is not this machine's own name for itself.
func checkHost(host string) error {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && a.IsLoopback() {
		return nil
	}
	if strings.EqualFold(host, "localhost") {
		return nil
	}
	return fmt.Errorf("host %q is not a loopback address: %w", host, fs.ErrPermission)
}
