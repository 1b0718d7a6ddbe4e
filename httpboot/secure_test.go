package httpboot

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/httpboot/agent"
)

func TestLoadCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tls.pem")
	made := make([]tls.Certificate, 8)
	var wg sync.WaitGroup
	for i := range made { // boot servers that start at the same time have one key
		wg.Go(func() {
			var err error
			if made[i], err = LoadCertificate(file); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first, err := Pin(made[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, cert := range made {
		if pin, err := Pin(cert); err != nil || pin != first {
			t.Errorf("%d has the pin %s (%v), the first one %s", i, pin, err, first)
		}
	}
	if key, ok := made[0].PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the key is %T", made[0].PrivateKey)
	}
	if len(first) != 43 || strings.ContainsAny(first, "+/=") {
		t.Errorf("the pin %q is not 32 bytes in base64url", first)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, mode %v", err, st.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
	other, err := LoadCertificate(filepath.Join(t.TempDir(), "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if pin, _ := Pin(other); pin == first {
		t.Error("two files have the same key")
	}

	// A file that is spoiled is an error, and is left alone.
	spoiled := filepath.Join(t.TempDir(), "tls.pem")
	if err := os.WriteFile(spoiled, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCertificate(spoiled); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), spoiled) {
		t.Errorf("spoiled: %v", err)
	}
	if _, err := LoadCertificate(filepath.Join(spoiled, "x")); err == nil || errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := Pin(tls.Certificate{}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("pin of nothing: %v", err)
	}
}

// secureServer runs s on both of its ports until the test's end.
func secureServer(t *testing.T, s *Server) (plain, secure string) {
	t.Helper()
	s.Images = dirImages(t.TempDir())
	cert, err := LoadCertificate(filepath.Join(t.TempDir(), "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.ListenSecure("127.0.0.1:0", cert)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, ln := range []net.Listener{a, b} {
		wg.Go(func() {
			if err := s.Serve(ctx, ln); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return "http://" + a.Addr().String(), "https://" + b.Addr().String()
}

// anyone is a client that does not look at keys.
func anyone(most uint16) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: most},
	}}
}

func postTo(t *testing.T, c *http.Client, url, body string) (status int, answer string) {
	t.Helper()
	res, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// Secrets go over TLS 1.3 and over nothing else.
func TestSecretsOverTLSOnly(t *testing.T) {
	d := &fixedDirector{
		claim: func(c agent.Claim) (agent.Claimed, error) {
			if c.Token != "right" {
				return agent.Claimed{}, &kindError{"another machine came first", fs.ErrPermission}
			}
			return agent.Claimed{Files: []agent.File{{Path: "/etc/key", Mode: 0o600, Content: []byte("secret")}}}, nil
		},
		present: func(_ context.Context, p agent.Present) (agent.NodeOrders, error) {
			return agent.NodeOrders{Restart: "for " + p.MAC}, nil
		},
	}
	plain, secure := secureServer(t, &Server{Director: d})
	c := anyone(0)
	for _, path := range []string{agent.PathClaim, agent.PathNode} {
		status, answer := postTo(t, c, plain+path, `{"token":"right"}`)
		if status != http.StatusForbidden || answer != "secrets go over TLS only: ask at the boot server's https URL\n" {
			t.Errorf("%s over HTTP: %d %q", path, status, answer)
		}
	}
	status, answer := postTo(t, c, secure+agent.PathClaim, `{"token":"right"}`)
	var claimed agent.Claimed
	if err := json.Unmarshal([]byte(answer), &claimed); status != http.StatusOK || err != nil || string(claimed.Files[0].Content) != "secret" {
		t.Errorf("claim: %d %q %v", status, answer, err)
	}
	if status, answer = postTo(t, c, secure+agent.PathClaim, `{"token":"wrong"}`); status != http.StatusForbidden || answer != "another machine came first\n" {
		t.Errorf("wrong token: %d %q", status, answer)
	}
	if status, answer = postTo(t, c, secure+agent.PathNode, `{"mac":"52:54:00:aa:00:01"}`); status != http.StatusOK || answer != `{"restart":"for 52:54:00:aa:00:01"}` {
		t.Errorf("present: %d %q", status, answer)
	}
	for _, path := range []string{agent.PathClaim, agent.PathNode} {
		if status, _ = postTo(t, c, secure+path, `{"token":"`+strings.Repeat("x", bodySize)+`"}`); status != http.StatusBadRequest {
			t.Errorf("%s: a body of more than 1 MiB: status %d", path, status)
		}
		if status, _ = postTo(t, c, secure+path, `<xml>`); status != http.StatusBadRequest {
			t.Errorf("%s: garbage: status %d", path, status)
		}
	}
	if _, err := anyone(tls.VersionTLS12).Post(secure+agent.PathClaim, "application/json", strings.NewReader("{}")); err == nil {
		t.Error("TLS 1.2 was good enough")
	}
}

// A running node's poll is held as long as an agent's, and then there is nothing to do.
func TestPresentIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Director: &fixedDirector{}}
		start := time.Now()
		w := httptest.NewRecorder()
		handler(t, s).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "https://boot"+agent.PathNode, strings.NewReader("{}")))
		if took := time.Since(start); took != agent.PollHold || w.Code != http.StatusOK || w.Body.String() != "{}" {
			t.Errorf("after %v: %d %q", took, w.Code, w.Body)
		}
	})
}

// Nodes that keep their connections for long leave the other port's to machines that boot.
func TestSecureConnsApart(t *testing.T) {
	s := &Server{Director: &fixedDirector{}, MaxConns: 1}
	plain, secure := secureServer(t, s)
	c, err := tls.Dial("tcp", strings.TrimPrefix(secure, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if second, err := tls.Dial("tcp", strings.TrimPrefix(secure, "https://"), &tls.Config{InsecureSkipVerify: true}); err == nil {
		second.Close()
		t.Error("a second connection over TLS was served")
	}
	res, err := http.Get(plain + "/ipxe")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	// The second one's goroutine may still be on its way to its end.
	for end := time.Now().Add(30 * time.Second); s.secure.open.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections over TLS, want 1", s.secure.open.Load())
		}
	}
}
