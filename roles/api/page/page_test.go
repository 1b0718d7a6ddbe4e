package page

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func get(t *testing.T, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

// sources gives the embedded files by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := fs.Glob(Files(), "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	if len(out) < 5 {
		t.Fatalf("only %d files", len(out))
	}
	return out
}

func TestEveryFileIsServed(t *testing.T) {
	all := sources(t)
	for name, want := range all {
		at := Prefix + name
		if name == index {
			at = Root
		}
		if !slices.Contains(Paths(), at) {
			t.Errorf("%s is not in Paths", at)
		}
		w := get(t, "GET", at)
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: status %d, %d bytes, want %d", at, w.Code, w.Body.Len(), len(want))
		}
		if got := w.Header().Get("Content-Type"); got == "" || got != types[path.Ext(name)] {
			t.Errorf("%s: Content-Type %q", at, got)
		}
		for k, v := range headers {
			if got := w.Header().Get(k); got != v {
				t.Errorf("%s: %s is %q, want %q", at, k, got, v)
			}
		}
		etag := w.Header().Get("ETag")
		if again := get(t, "GET", at, "If-None-Match", etag); etag == "" || again.Code != http.StatusNotModified || again.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s again: status %d, ETag %q", at, again.Code, etag)
		}
	}
	if len(Paths()) != len(all) {
		t.Errorf("%d paths of %d files", len(Paths()), len(all))
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, at := range []string{"/index.html", "/page/", "/page/index.html", "/page/../page.go", "/page/testdata/rack.js", "/v1/nodes"} {
		if w := get(t, "GET", at); w.Code == http.StatusOK {
			t.Errorf("%s: %d bytes", at, w.Body.Len())
		}
	}
	if w := get(t, "POST", Root); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

// TestPolicy reads the policy that browsers get: nothing but this server's own files and API.
func TestPolicy(t *testing.T) {
	got := map[string]string{}
	for d := range strings.SplitSeq(get(t, "GET", Root).Header().Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(d, " ")
		got[name] = value
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'", "img-src": "'self'",
		"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("policy %q", policy)
	}
}

// Inline code, which the policy forbids: the page would be dead where it is used.
var inline = []*regexp.Regexp{
	regexp.MustCompile(`(?i)<script(?:[^>]*)>\s*[^<\s]`),
	regexp.MustCompile(`(?i)<style`),
	regexp.MustCompile(`(?i)\s(on[a-z]+|style)\s*=`),
	regexp.MustCompile(`(?i)javascript:`),
}

// sinks make HTML or code of text.
var sinks = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML|srcdoc|` +
	`\beval\b|new Function|setTimeout\(\s*["'` + "`" + `]|import\(|cssText|setAttribute\("style`)

func TestNoInlineCodeAndNoHTMLOfText(t *testing.T) {
	for name, text := range sources(t) {
		if path.Ext(name) == ".html" || path.Ext(name) == ".svg" {
			for _, re := range inline {
				if m := re.FindString(text); m != "" {
					t.Errorf("%s: %q", name, m)
				}
			}
		}
		if m := sinks.FindString(text); m != "" {
			t.Errorf("%s: %q", name, m)
		}
	}
	for _, bad := range []string{`<script>x`, `<p style="x">`, `<p onclick=x>`, `<style>`} {
		if !slices.ContainsFunc(inline, func(re *regexp.Regexp) bool { return re.MatchString(bad) }) {
			t.Errorf("%q was not found", bad)
		}
	}
}

// TestPageIsComplete: what the files name is there, and nothing comes from elsewhere.
func TestPageIsComplete(t *testing.T) {
	all := sources(t)
	for name, text := range all {
		for _, m := range regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(m[1], "#") && !slices.Contains(Paths(), m[1]) {
				t.Errorf("%s names %s, which is not served", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`from "([^"]+)"`).FindAllStringSubmatch(text, -1) {
			if all[strings.TrimPrefix(m[1], "./")] == "" {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
		if m := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+|@import|url\(`).FindString(text); m != "" && m != "http://www.w3.org" {
			t.Errorf("%s names %q", name, m)
		}
	}
	for _, id := range regexp.MustCompile(`\$\("([a-z-]+)"\)`).FindAllStringSubmatch(all["main.js"], -1) {
		if !strings.Contains(all[index], `id="`+id[1]+`"`) {
			t.Errorf("main.js wants #%s, which is not in the page", id[1])
		}
	}
}

// TestSmall: the page is there at once, over whatever line.
func TestSmall(t *testing.T) {
	const most = 96 << 10
	size := 0
	for _, text := range sources(t) {
		size += len(text)
	}
	if size > most {
		t.Errorf("the page has %d bytes, more than %d", size, most)
	}
}

// TestScripts runs the page's own logic in a JavaScript engine: rows and alerts, drawing, the connection.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("needs node: install Debian's nodejs")
	}
	files, err := filepath.Glob("testdata/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	out, err := exec.CommandContext(t.Context(), "node", append([]string{"--test"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if m := regexp.MustCompile(`(?m)^(?:# |ℹ )pass (\d+)$`).FindSubmatch(out); m == nil || len(m[1]) < 2 {
		t.Errorf("fewer than 10 tests ran:\n%s", out)
	}
}
