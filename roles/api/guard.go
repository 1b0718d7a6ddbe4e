package api

import (
	"crypto/subtle"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard lets in on TCP who has the token or, where there is none, who is on this machine and meant to come: a
// web page in a browser on this machine is refused, whatever name it gave the address (DNS rebinding).
func (s *Server) guard(h http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		h.ServeHTTP(w, r)
	})
}

// open is what monitoring reads without a token: it names no machine.
var open = map[string]bool{metricsPath: true, "/v1/healthz": true}

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
