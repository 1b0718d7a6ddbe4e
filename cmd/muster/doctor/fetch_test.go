package doctor

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/tftpd"
)

// programs makes a directory with boot programs of some blocks each.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{"undionly.kpxe", "snponly.efi"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(strings.Repeat(n, 1000)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrograms(t *testing.T) {
	dir := programs(t)
	e := &Env{IPXE: dir, Programs: []string{"undionly.kpxe", "snponly.efi"}}
	compare(t, checkPrograms(t.Context(), e), want{"ipxe", OK, "2 boot programs in " + dir, ""})
	os.Remove(filepath.Join(dir, "snponly.efi"))
	if err := os.Truncate(filepath.Join(dir, "undionly.kpxe"), 0); err != nil {
		t.Fatal(err)
	}
	compare(t, checkPrograms(t.Context(), e),
		want{"ipxe", Fail, "undionly.kpxe is not a file with something in it", "reinstall"},
		want{"ipxe", Fail, "snponly.efi is missing", "apt-get install ipxe"})
}

// serveTFTP starts our server on a free port of the loopback and returns its address; it ends with the test.
func serveTFTP(t *testing.T, dir string) string {
	t.Helper()
	conn, err := tftpd.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- (&tftpd.Server{FS: os.DirFS(dir)}).Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn.Addr().String()
}

func TestTFTP(t *testing.T) {
	dir := programs(t)
	e := &Env{IPXE: dir, TFTP: serveTFTP(t, dir), Programs: []string{"undionly.kpxe", "snponly.efi"}}
	compare(t, checkTFTP(t.Context(), e), want{"tftp", OK, "2 boot programs fetched from 127.0.0.1:", ""})

	e.IPXE = programs(t)
	if err := os.WriteFile(filepath.Join(e.IPXE, "snponly.efi"), []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "undionly.kpxe"))
	compare(t, checkTFTP(t.Context(), e),
		want{"tftp", Fail, "undionly.kpxe does not come from", "muster serve"},
		want{"tftp", Fail, "is not the file in " + e.IPXE, "another TFTP server"})
}

func TestTFTPNobodyThere(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // it listens and never answers
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := &Env{TFTP: conn.LocalAddr().String(), Programs: []string{"snponly.efi"}}
	compare(t, checkTFTP(ctx, e), want{"tftp", Fail, "snponly.efi does not come from", "ss -lunp"})
}

// closedPort is an address of the loopback on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func serveHTTP(t *testing.T, files map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, b)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestHTTP(t *testing.T) {
	e := &Env{HTTP: serveHTTP(t, map[string]string{"/ipxe": "#!ipxe\n"})}
	compare(t, checkHTTP(t.Context(), e), want{"http", OK, "/ipxe", ""})
	e.HTTP = serveHTTP(t, map[string]string{"/ipxe": "<html>"})
	compare(t, checkHTTP(t.Context(), e), want{"http", Fail, "is not an iPXE script", "another web server"})
	e.HTTP = serveHTTP(t, nil)
	compare(t, checkHTTP(t.Context(), e), want{"http", Fail, "404 Not Found", "muster serve"})
	e.HTTP = closedPort(t)
	compare(t, checkHTTP(t.Context(), e), want{"http", Fail, "connection refused", "muster serve"})
}

func TestImages(t *testing.T) {
	e := &Env{HTTP: serveHTTP(t, map[string]string{"/a": "kernel", "/b": "kern"}), Images: []Image{
		{"web:1", "/a", 6}, {"ntp:2", "/b", 6}, {"old:1", "/c", 6},
	}}
	compare(t, checkImages(t.Context(), e),
		want{"image", OK, "kernel of web:1: 6 bytes", ""},
		want{"image", Fail, "kernel of ntp:2: 4 bytes came, it has 6", "build the image again"},
		want{"image", Fail, "kernel of old:1: the server answers 404", "build it again"})
	e.Images = nil
	compare(t, checkImages(t.Context(), e), want{"image", Warn, "no image is built", "muster image build"})
}
