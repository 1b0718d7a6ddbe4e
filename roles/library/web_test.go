package library

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// page fetches a page from a node. The path goes over the wire as it is, and so does the host.
func (x *node) page(host, path string) string {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodGet, "http://"+x.address, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	req.URL.Opaque, req.Host = path, host
	resp, err := x.rack.HTTPClient().Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	if resp.Header.Get("X-Slot") != x.name && resp.StatusCode != http.StatusBadRequest {
		x.t.Errorf("%s%s: X-Slot is %q", host, path, resp.Header.Get("X-Slot"))
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(b)))
}

func (x *node) wantPage(host, path, want string) {
	x.t.Helper()
	if got := x.page(host, path); !strings.HasPrefix(got, want) {
		x.t.Errorf("%s: http://%s%s = %q, want %q", x.name, host, path, got, want)
	}
}

func (x *node) startNginx() {
	x.t.Helper()
	x.run("mkdir", "/run/slot-page")
	x.run("/usr/local/lib/muster/slot-page", "/run/slot-page/index.html")
	x.run("nginx", "-t")
	x.daemon("nginx", "-g", "daemon off;")
	x.healthy()
}

func TestWeb(t *testing.T) {
	s := newSite(t, "web", "{}")
	x, y := s.start(1), s.start(2)
	x.verify()
	x.startNginx()
	y.startNginx()
	if got := x.page("10.77.0.21", "/"); !strings.Contains(got, "Hello from <b>web-01</b>, running image <b>web:7</b>") {
		t.Errorf("the slot's page: %s", got)
	}
	x.wantPage("example.org", "/index.html", "200 <!doctype html>") // still the slot's

	for _, site := range []string{"example.org", "sub.example.org", "www.example.net", "10.77.0.22"} {
		s.write("www", site+"/index.html", "this is "+site)
	}
	if err := os.Symlink("example.org", s.volume("www")+"/alias.example"); err != nil {
		t.Fatal(err)
	}
	s.write("www", "example.org/sub/index.html", "below")
	s.write("www", "example.org/.git/config", "token")
	s.write("www", "example.org/.well-known/challenge", "proof")
	s.write("www", "example.org/a.php", "<?php echo 6*7; // source")
	s.write("www", "top.txt", "top")
	for _, n := range []*node{x, y} { // both, with nothing done to them
		for host, want := range map[string]string{
			"example.org": "200 this is example.org", "www.example.org": "200 this is example.org", "WWW.EXAMPLE.ORG:80": "200 this is example.org",
			"example.org.": "200 this is example.org", "alias.example": "200 this is example.org", "www.alias.example": "200 this is example.org",
			"sub.example.org": "200 this is sub.example.org", "www.example.net": "200 this is www.example.net", "10.77.0.22": "200 this is 10.77.0.22",
			// No site, and no way out.
			"example.net": "200 <!doctype", "other.example": "200 <!doctype", "%2e%2e": "200 <!doctype",
			"-": "200 <!doctype", "www.": "200 <!doctype", ".": "400", "..": "400", "a..b": "400",
		} {
			n.wantPage(host, "/", want)
		}
	}
	for path, want := range map[string]string{
		"/sub/": "200 below", "/none": "404", "/.git/config": "404", "/.well-known/challenge": "200 proof", "/b.php": "404", "/a.php": "502",
		"/../sub.example.org/index.html": "400", "/%2e%2e/sub.example.org/": "400", "/..%2fsub.example.org/index.html": "400", "/%00": "400",
		"/a.php/x.css": "404", "/top.txt": "404",
	} {
		x.wantPage("example.org", path, want)
	}

	s.write("www", "index.html", "start")
	for path, want := range map[string]string{
		"/": "200 start", "/top.txt": "200 top", "/example.org/index.html": "404", "/example.org/a.php": "404", "/example.org/": "404",
		"/./example.org/index.html": "404", "/x/../example.org/index.html": "404",
	} {
		y.wantPage("other.example", path, want)
	}
	if err := os.Mkdir(s.volume("www")+"/default", 0o755); err != nil {
		t.Fatal(err)
	}
	x.healthy() // an empty one changes nothing
	s.write("www", "default/index.html", "default")
	x.wantPage("other.example", "/", "200 default")
	x.wantPage("other.example", "/top.txt", "404")

	x.wantCertificate("web")
	y.wantCertificate("web")
	x.eventually("log", func() error {
		if out, err := x.try("grep", "^sub.example.org 10.77.0.1 ", "/var/log/nginx/access.log"); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// TestWebHosts: what no client sends, but an attacker.
func TestWebHosts(t *testing.T) {
	s := newSite(t, "web", "{}")
	x := s.start(1)
	s.write("www", "example.org/index.html", "site")
	x.startNginx()
	for _, host := range []string{"../..", "/etc", "example.org/../..", "example.org/", "..", "example.org\x00.example", "a\\..\\b", "{}", "$bare", "example.org;", "\xff", strings.Repeat("a.", 500)} {
		c, err := s.rack.Dial(t.Context(), "tcp", x.address+":80")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		b, err := io.ReadAll(c)
		c.Close()
		answer := string(b)
		if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 400") && !strings.Contains(answer, "Hello from") {
			t.Errorf("Host %q: %v %.200q", host, err, answer)
		}
	}
	x.healthy()
}

// wantCertificate: the node shows the pool's certificate, over HTTP/2.
func (x *node) wantCertificate(pool string) {
	x.t.Helper()
	secrets, err := x.registry.Secrets()
	if err != nil {
		x.t.Fatal(err)
	}
	trust := x509.NewCertPool()
	for _, s := range secrets {
		if s.Key == "pool/"+pool+"/tls" {
			trust.AppendCertsFromPEM([]byte(s.Public))
		}
	}
	raw, err := x.rack.Dial(x.t.Context(), "tcp", x.address+":443")
	if err != nil {
		x.t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{RootCAs: trust, ServerName: x.name + ".rack.example", NextProtos: []string{"h2"}})
	if err := c.HandshakeContext(x.t.Context()); err != nil || c.ConnectionState().NegotiatedProtocol != "h2" {
		x.t.Errorf("%s: %v, protocol %q", x.name, err, c.ConnectionState().NegotiatedProtocol)
	}
}

// TestPHP: with PHP-FPM in the image, sites run it, each with its own files only.
func TestPHP(t *testing.T) {
	s := newSite(t, "web", "{}")
	x := s.start(1)
	s.write("www", "example.org/index.php", `<?php echo "php ", 6*7, " ", $_SERVER["HTTP_HOST"], " ", @file_get_contents("/srv/www/example.net/secret") === false ? "denied" : "read";`)
	s.write("www", "example.net/secret", "other's")
	x.run("mkdir", "-p", "/run/php")
	x.run("ln", "-s", "php8.2-fpm.sock", "/run/php/php-fpm.sock") // the package's unit does so
	x.daemon("php-fpm8.2", "--nodaemonize", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf")
	x.startNginx()
	x.eventually("php", func() error {
		if got := x.page("www.example.org", "/"); got != "200 php 42 www.example.org denied" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}
