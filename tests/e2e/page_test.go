package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/roles/api/page"
)

// TestPage: the page and what it reads, over HTTPS at an address of the boot server's: the files for everybody, the rack
// for who has the token, and an event as it comes.
func TestPage(t *testing.T) {
	s := newBare(t, nil)
	s.configure(func(yaml string) string {
		return strings.Replace(yaml, "api: {", `api: {secure: "10.77.0.1:8444", `, 1)
	})
	s.start()
	token, err := os.ReadFile(filepath.Join(s.dir, "data", "api.token"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []byte // the server's certificate
	client := s.rack.HTTPClient()
	client.Timeout = patience // the stream has no end of its own
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // as who clicks the warning away; the digest is compared below
		VerifyConnection:   func(c tls.ConnectionState) error { seen = c.PeerCertificates[0].Raw; return nil },
	}
	ask := func(path, token string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://10.77.0.1:8444"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for _, path := range page.Paths() {
		if resp := ask(path, ""); resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
	}
	if digest := fmt.Sprintf("%X", sha256.Sum256(seen)); !strings.Contains(s.log.String(), "certificate="+digest) {
		t.Errorf("the log does not tell the certificate's digest %s", digest)
	}
	if !strings.Contains(s.log.String(), "http://127.0.0.1:8081/") {
		t.Error("the log does not tell where the page is")
	}
	right := strings.TrimSpace(string(token))
	for token, want := range map[string]int{"": 401, "guess": 401, right: 200} {
		if resp := ask("/v1/nodes", token); resp.StatusCode != want {
			t.Errorf("/v1/nodes with %q: %s, want %d", token, resp.Status, want)
		}
	}
	stream := ask("/v1/events?follow=1", right)
	mac := machineMAC(1)
	s.boots(mac)
	for lines := bufio.NewScanner(stream.Body); ; {
		if !lines.Scan() {
			t.Fatalf("the stream ended before the machine's event: %v", lines.Err())
		}
		if strings.Contains(lines.Text(), mac.String()) {
			break
		}
	}
}
