// Package page is the operators' web page: what is wrong first, then pools, machines, storage pairs, rollouts,
// images and events, live. It is a few static files that a browser reads with what it has: no framework, no
// build, nothing from another server. All that they show comes from the API, with the operator's token.
//
// The files hold no secret, so whoever reaches the operators' address may read them; the token is asked for by
// the page and kept by the browser's tab alone. The headers allow nothing but these files and this server's own
// API: no inline script (Content Security Policy Level 3), no frame around the page, no HTML made of text
// (require-trusted-types-for). The package deliberately has no templates: nothing in the page is rendered here.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed files
var embedded embed.FS

// Root is the page's path, and Prefix that of the files which it loads.
const (
	Root   = "/"
	Prefix = "/page/"
)

// index is the file that Root shows.
const index = "index.html"

// policy is the Content-Security-Policy of every answer.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// headers go with every answer.
var headers = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY", // for browsers that do not know frame-ancestors
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	// A page of before an update must not speak with the server of after it.
	"Cache-Control": "no-cache",
}

// types are the files that there may be; http's own table depends on the machine's.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Files are the page's files by name.
func Files() fs.FS {
	sub, err := fs.Sub(embedded, "files")
	if err != nil {
		panic("page: " + err.Error()) // the name is a constant
	}
	return sub
}

// Paths are the URL paths that Handler answers.
func Paths() []string {
	out := []string{Root}
	names, _ := fs.Glob(Files(), "*") // fails for a bad pattern only
	for _, name := range names {
		if name != index {
			out = append(out, Prefix+name)
		}
	}
	return out
}

// Handler serves the page at Paths, with the ETag of what it serves; it knows no other path.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for _, at := range Paths() {
		name := path.Base(at)
		if at == Root {
			name, at = index, "/{$}"
		}
		mux.Handle("GET "+at, file(name))
	}
	return mux
}

// file serves one of the files.
func file(name string) http.Handler {
	b, err := fs.ReadFile(Files(), name)
	if err != nil {
		panic("page: " + err.Error()) // it was listed a moment ago
	}
	sum := sha256.Sum256(b)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", types[path.Ext(name)])
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	})
}
