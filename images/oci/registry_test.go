package oci

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"muster/images"
)

// big is an image with a layer of some megabytes that no compression makes smaller.
func big(t testing.TB) (img v1.Image, content string) {
	noise := make([]byte, 4<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	return image(t, layer(t, file("noise", string(noise)))), string(noise)
}

// layerGet says that a request is for a large blob.
func layerGet(w http.ResponseWriter, r *http.Request, h http.Handler) (answer *httptest.ResponseRecorder, is bool) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
		return nil, false
	}
	answer = httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer, answer.Body.Len() > 1<<20
}

// breakOff sends the beginning of an answer and closes the connection.
func breakOff(w http.ResponseWriter, answer *httptest.ResponseRecorder, n int) {
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:n])
	panic(http.ErrAbortHandler)
}

func TestDownloadGoesOn(t *testing.T) {
	img, content := big(t)
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			host := serve(t, img, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked := r.Header.Get("Range")
					if !ranges {
						r.Header.Del("Range")
					}
					answer, is := layerGet(w, r, h)
					if !is {
						h.ServeHTTP(w, r)
						return
					}
					if n := requests.Add(1); n > 1 && !strings.HasPrefix(asked, "bytes=") {
						t.Errorf("request %d has the range %q", n, asked)
					}
					if requests.Load() < 3 {
						breakOff(w, answer, answer.Body.Len()/2)
					}
					h.ServeHTTP(w, r)
				})
			})
			root := t.TempDir()
			if _, err := nobody.Fill(t.Context(), host+"/test/image:1", root, images.FillOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := tree(t, root); len(got) != 1 || got[0] != "noise="+content {
				t.Error("the content changed")
			}
		})
	}
}

// TestSilentRegistry: a registry that says no more in the middle of a layer is left, and asked again; also while it
// repeats what is there already, because it knows no ranges.
func TestSilentRegistry(t *testing.T) {
	img, content := big(t)
	var requests atomic.Int32
	host := serve(t, img, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			answer, is := layerGet(w, r, h)
			if !is || requests.Add(1) > 2 {
				h.ServeHTTP(w, r)
				return
			}
			for k, v := range answer.Header() {
				w.Header()[k] = v
			}
			_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2/int(requests.Load())])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	})
	r := nobody
	r.stall = time.Second
	root := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.Fill(ctx, host+"/test/image:1", root, images.FillOptions{}); err != nil || requests.Load() < 3 {
		t.Fatalf("after %d requests: %v", requests.Load(), err)
	}
	if got := tree(t, root); len(got) != 1 || got[0] != "noise="+content {
		t.Error("the content changed")
	}
}

func TestRegistryDiesInALayer(t *testing.T) {
	img, _ := big(t)
	var dead atomic.Bool
	host := serve(t, img, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if dead.Load() {
				panic(http.ErrAbortHandler)
			}
			if answer, is := layerGet(w, r, h); is {
				dead.Store(true)
				breakOff(w, answer, answer.Body.Len()/2)
			}
			h.ServeHTTP(w, r)
		})
	})
	root := t.TempDir()
	_, err := nobody.Fill(t.Context(), host+"/test/image:1", root, images.FillOptions{})
	if err == nil || !strings.Contains(err.Error(), "layer 1 of 1: the connection to "+host+" broke off after") {
		t.Errorf("Fill = %v", err)
	}
	oneSentence(t, err)
	if left := tree(t, root); len(left) > 0 {
		t.Errorf("it left %d files", len(left))
	}
}

func TestChangedLayer(t *testing.T) {
	img := base(t)
	for name, change := range map[string]func([]byte) []byte{
		"one bit":         func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"another archive": func(b []byte) []byte { return archive(t, file("evil", "x"))[:] },
		"of its length":   func(b []byte) []byte { return append(archive(t, file("evil", "x")), make([]byte, len(b))...)[:len(b)] },
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, img, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answer := httptest.NewRecorder()
					h.ServeHTTP(answer, r)
					b := answer.Body.Bytes()
					if r.Method == http.MethodGet && bytes.HasPrefix(b, []byte("\x1f\x8b")) {
						b = change(b)
						answer.Header().Del("Content-Length")
					}
					for k, v := range answer.Header() {
						w.Header()[k] = v
					}
					w.WriteHeader(answer.Code)
					_, _ = w.Write(b)
				})
			})
			root := t.TempDir()
			_, err := nobody.Fill(t.Context(), host+"/test/image:1", root, images.FillOptions{})
			if err == nil {
				t.Errorf("it was taken: %q", tree(t, root))
			} else if d := strings.ToLower(err.Error()); !strings.Contains(d, "digest") && !strings.Contains(d, "sha256") && !strings.Contains(d, "size") {
				t.Errorf("Fill = %v", err)
			}
			oneSentence(t, err)
			if d := cmp.Diff([]string(nil), tree(t, root)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	answer := func(code int) func(http.Handler) http.Handler {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if code == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", `Basic realm="muster"`)
				}
				http.Error(w, "<html>\nno\n</html>", code)
			})
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	for name, test := range map[string]struct {
		what string
		kind error
		says string
	}{
		"tag":          {serve(t, base(t), nil) + "/test/image:2", fs.ErrNotExist, "has no such image, tag or digest"},
		"name":         {serve(t, base(t), nil) + "/other:1", fs.ErrNotExist, "has no such image, tag or digest"},
		"digest":       {serve(t, base(t), nil) + "/test/image@sha256:" + strings.Repeat("0", 64), fs.ErrNotExist, "has no such image, tag or digest"},
		"unauthorised": {serve(t, nil, answer(401)) + "/a:1", fs.ErrPermission, "docker login"},
		"forbidden":    {serve(t, nil, answer(403)) + "/a:1", fs.ErrPermission, "docker login"},
		"broken":       {serve(t, nil, answer(500)) + "/a:1", nil, "answers 500 Internal Server Error"},
		"busy":         {serve(t, nil, answer(429)) + "/a:1", nil, "too many requests"},
		"dead":         {closed.Addr().String() + "/a:1", nil, "connection refused"},
		"no reference": {"Not A Reference!", fs.ErrInvalid, "is not a reference such as"},
		"not pinned":   {"debian@sha256:123", fs.ErrInvalid, "is not a reference such as"},
	} {
		_, err := nobody.Fill(t.Context(), test.what, t.TempDir(), images.FillOptions{})
		if err == nil || !strings.Contains(err.Error(), test.says) || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%s: %v, want an error with %q that wraps %v", name, err, test.says, test.kind)
		}
		oneSentence(t, err)
	}
}

// known has one user's credentials.
type known struct{ user, password string }

func (k known) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: k.user, Password: k.password}, nil
}

func TestCredentials(t *testing.T) {
	host := serve(t, base(t), func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); u != "rack" || p != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="muster"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	r := nobody
	for password, ok := range map[string]bool{"secret": true, "guess": false} {
		r.Keychain = known{"rack", password}
		_, err := r.Fill(t.Context(), host+"/test/image:1", t.TempDir(), images.FillOptions{})
		if (err == nil) != ok || err != nil && (!errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), password)) {
			t.Errorf("%s: %v", password, err)
		}
	}
}

// TestPlainHTTP lets a name that is not this machine's lead to a registry here.
func TestPlainHTTP(t *testing.T) {
	host := serve(t, base(t), nil)
	r := nobody
	r.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}}
	for _, name := range []string{"10.1.2.3:5000/test/image:1", "registry.local:5000/test/image:1"} {
		r.PlainHTTP = false
		_, err := r.Fill(t.Context(), name, t.TempDir(), images.FillOptions{})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "oci+http:") {
			t.Errorf("%s: %v, want an error that tells of oci+http", name, err)
		}
		r.PlainHTTP = true
		if origin, err := r.Fill(t.Context(), name, t.TempDir(), images.FillOptions{}); err != nil || !strings.HasPrefix(origin, "oci+http:"+strings.TrimSuffix(name, ":1")+"@sha256:") {
			t.Errorf("%s: %q, %v", name, origin, err)
		}
	}
}
