package api

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"muster/roles/api/page"
)

// TestPageNeedsNoToken: whoever reaches the address gets the page's files, and nothing of the rack.
func TestPageNeedsNoToken(t *testing.T) {
	s := &Server{Rack: declared(t), Token: "s3cret"}
	h := s.guard(s.Handler())
	ask := func(method, at string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, at, nil)
		r.Host = "rack.example:8443"
		h.ServeHTTP(w, r)
		return w
	}
	for _, at := range page.Paths() {
		w := ask("GET", at)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), s.Token) || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: status %d, %v", at, w.Code, w.Header())
		}
	}
	for at, want := range map[string]int{"/v1/nodes": 401, "/page/": 401, "/page/nothing.js": 401, "/index.html": 401, "/v1/rollouts": 401} {
		if w := ask("GET", at); w.Code != want || strings.Contains(w.Body.String(), "web") {
			t.Errorf("%s: status %d, want %d: %s", at, w.Code, want, w.Body)
		}
	}
	if w := ask("POST", page.Root); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

// TestPageIsOnTheAPIsAddress: the handler serves both, and no path of one hides one of the other.
func TestPageIsOnTheAPIsAddress(t *testing.T) {
	s := &Server{Rack: declared(t)}
	if w := do(s, "GET", "/"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "<!doctype html>") {
		t.Errorf("status %d: %.60s", w.Code, w.Body)
	}
	if w := do(s, "GET", "/nothing"); w.Code != 404 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d: %.60s", w.Code, w.Body)
	}
	if w := do(s, "GET", "/v1/pools"); w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d: %.60s", w.Code, w.Body)
	}
}

// TestPageAsksWhatTheAPIHas: every path in the page's scripts is one of the description.
func TestPageAsksWhatTheAPIHas(t *testing.T) {
	var known []string
	for path := range parseDescription(t).Paths {
		known = append(known, regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "{}"))
	}
	names, err := fs.Glob(page.Files(), "*.js")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		b, err := fs.ReadFile(page.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(string(b), "{}")
		text = strings.ReplaceAll(text, "`{}/", "`/v1/nodes/{}/") // nodePath
		for _, m := range regexp.MustCompile("[\"`](/v1/[^\"`?]*)").FindAllStringSubmatch(text, -1) {
			found++
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s asks for %s, which openapi.yaml does not have", name, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d paths found", found)
	}
}
