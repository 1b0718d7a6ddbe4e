package httpboot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"
)

// fetches keeps what Observe was told.
type fetches struct {
	mu  sync.Mutex
	all []Fetch
}

func (f *fetches) observe(_ context.Context, x Fetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x.Took, x.Remote = 0, x.Remote.Unmap()
	f.all = append(f.all, x)
}

func (f *fetches) take() []Fetch {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.all
	f.all = nil
	return all
}

// bigImage makes web:7 with a kernel of size bytes.
func bigImage(t *testing.T, size int) (dirImages, []byte) {
	t.Helper()
	images, dir := bootImage(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(filepath.Join(dir, kernelFile), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return images, content
}

func TestImageFiles(t *testing.T) {
	images, content := bigImage(t, 1<<20)
	var seen fetches
	srv := httptest.NewServer(handler(t, &Server{Director: &fixedDirector{}, Images: images, Observe: seen.observe}))
	defer srv.Close()
	const path = "/images/web/7/vmlinuz?mac=52-54-00-AA-00-01&boot=12"
	do := func(method string, header ...string) (*http.Response, []byte) {
		t.Helper()
		r, _ := http.NewRequest(method, srv.URL+path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, b
	}
	res, b := do("GET")
	etag := res.Header.Get("Etag")
	if res.StatusCode != 200 || sha256.Sum256(b) != sha256.Sum256(content) || etag == "" || res.ContentLength != int64(len(content)) {
		t.Errorf("GET: %v, %d bytes", res, len(b))
	}
	want := Fetch{Area: "images", File: "web/7/vmlinuz", MAC: "52:54:00:aa:00:01", Boot: "12", Size: 1 << 20, Bytes: 1 << 20, Complete: true}
	check := func(want ...Fetch) {
		t.Helper()
		got := seen.take()
		for i := range got {
			got[i].Remote = want[0].Remote
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("observed %+v, want %+v", got, want)
		}
	}
	eventually(t, func() bool { seen.mu.Lock(); defer seen.mu.Unlock(); return len(seen.all) > 0 })
	check(want)

	res, b = do("HEAD")
	if res.StatusCode != 200 || len(b) != 0 || res.ContentLength != int64(len(content)) {
		t.Errorf("HEAD: %v", res)
	}
	res, _ = do("GET", "If-None-Match", etag)
	if res.StatusCode != 304 {
		t.Errorf("If-None-Match: %v", res.Status)
	}
	res, _ = do("GET", "Range", "bytes=9999999-")
	if res.StatusCode != 416 {
		t.Errorf("range outside: %v", res.Status)
	}
	if got := seen.take(); len(got) != 0 {
		t.Errorf("observed without a fetch: %+v", got)
	}
	res, b = do("GET", "Range", "bytes=16-31")
	if res.StatusCode != 206 || string(b) != "0123456789abcdef" {
		t.Errorf("range: %v %q", res.Status, b)
	}
	eventually(t, func() bool { seen.mu.Lock(); defer seen.mu.Unlock(); return len(seen.all) > 0 })
	want.Bytes, want.Complete = 16, false
	check(want)
	res, b = do("GET", "Range", "bytes=-65536", "If-Range", etag) // a download that goes on
	if res.StatusCode != 206 || len(b) != 65536 {
		t.Errorf("rest: %v, %d bytes", res.Status, len(b))
	}
	eventually(t, func() bool { seen.mu.Lock(); defer seen.mu.Unlock(); return len(seen.all) > 0 })
	want.Bytes, want.Complete = 65536, true
	check(want)
}

// A root in RAM comes like a kernel does, with ranges; nothing else of an image's directory is served.
func TestRootFiles(t *testing.T) {
	images, dir := bootImage(t)
	for _, name := range []string{rootFile, sealFile, "manifest"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("this is "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var seen fetches
	h := handler(t, &Server{Director: &fixedDirector{}, Images: images, Observe: seen.observe})
	for name, want := range map[string]int{"root.squashfs": 206, "root.seal": 206, "manifest": 404, "root.squashfs/x": 404} {
		r := httptest.NewRequest(http.MethodGet, "/images/web/7/"+name+"?mac=52-54-00-aa-00-01&boot=12", nil)
		r.Header.Set("Range", "bytes=8-")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || want == 206 && w.Body.String() != name {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
		for _, f := range seen.take() {
			if f.File != "web/7/"+name || f.MAC != "52:54:00:aa:00:01" || f.Boot != "12" || f.Bytes != int64(len(name)) || !f.Complete {
				t.Errorf("observed %+v", f)
			}
		}
	}
}

// A kernel of 32 MB goes out by sendfile(2): net/http reads the first 512 bytes of an answer itself, and no
// byte more may come through user space.
func TestSendfile(t *testing.T) {
	const size = 32 << 20
	images, _ := bigImage(t, size)
	reg := prometheus.NewPedanticRegistry()
	s := &Server{Director: &fixedDirector{}, Images: images, Metrics: reg}
	var seen fetches
	s.Observe = seen.observe
	ln, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	res, err := http.Get("http://" + ln.Addr().String() + "/images/web/7/vmlinuz")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if n != size || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := value(t, s.metrics.copied); got > 512 {
		t.Errorf("%v of %d bytes were copied through user space", got, size)
	}
	if got := value(t, s.metrics.bytes.WithLabelValues("images")); got != size {
		t.Errorf("%v bytes counted", got)
	}
	if all := seen.take(); len(all) != 1 || !all[0].Complete || all[0].Bytes != size {
		t.Errorf("observed %+v", all)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "muster_httpboot_") || f.GetHelp() == "" {
			t.Errorf("metric %s: %q", f.GetName(), f.GetHelp())
		}
	}
}

// A machine that is switched off in mid-download is told as a partial fetch.
func TestPartialFetch(t *testing.T) {
	images, _ := bigImage(t, 64<<20)
	var seen fetches
	srv := httptest.NewServer(handler(t, &Server{Director: &fixedDirector{}, Images: images, Observe: seen.observe}))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// HTTP/1.0 without Host: old firmware.
	fmt.Fprintf(c, "GET /images/web/7/vmlinuz HTTP/1.0\r\n\r\n")
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, "200 OK") {
		t.Errorf("answer %q, %v", line, err)
	}
	c.Close()
	eventually(t, func() bool { seen.mu.Lock(); defer seen.mu.Unlock(); return len(seen.all) > 0 })
	if f := seen.take()[0]; f.Complete || f.Bytes == 0 || f.Bytes >= f.Size {
		t.Errorf("observed %+v", f)
	}
}

func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sub/a.txt", "rescue.efi"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("file "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var seen fetches
	h := handler(t, &Server{
		Director: &fixedDirector{}, Files: root.FS(), Observe: seen.observe,
		NBP: fstest.MapFS{"snponly.efi": {Data: []byte("MZ")}, "dir/x": {Data: []byte("x")}},
	})
	for target, want := range map[string]string{
		"/nbp/snponly.efi":                      "200 application/efi MZ",
		"/files/sub/a.txt":                      "200 text/plain; charset=utf-8 file sub/a.txt",
		"/files/rescue.efi":                     "200 application/efi file rescue.efi",
		"/nbp/dir":                              "404",
		"/nbp/dir/x":                            "404",
		"/nbp/":                                 "404",
		"/nbp/none":                             "404",
		"/files/":                               "404",
		"/files/sub":                            "404",
		"/files/sub/a.txt/x":                    "404",
		"/files/none":                           "404",
		"/files/out":                            "500",
		"/files/%2e%2e/%2e%2e/x":                "404",
		"/files/..%2fx":                         "404",
		"/files/a%00b":                          "404",
		"/files/" + strings.Repeat("x", 300):    "404",
		"/images/web/7/vmlinuz":                 "404",
		"/images/web/0/vmlinuz":                 "404",
		"/images/web/x/vmlinuz":                 "404",
		"/images/web/7/tree":                    "404",
		"/images/..%2f..%2fetc/7/vmlinuz":       "404",
		"/images/web/99999999999999999/vmlinuz": "404",
	} {
		w := get(h, target)
		got := fmt.Sprint(w.Code)
		if w.Code == 200 {
			got += " " + w.Header().Get("Content-Type") + " " + w.Body.String()
		}
		if got != want {
			t.Errorf("%s: %s %s, want %s", target, got, w.Body, want)
		}
	}
	if got := seen.take(); len(got) != 3 {
		t.Errorf("observed %+v", got)
	}
	if w := get(handler(t, &Server{Director: &fixedDirector{}}), "/nbp/snponly.efi"); w.Code != 404 {
		t.Errorf("without NBP: %d", w.Code)
	}
}
