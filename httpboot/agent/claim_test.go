package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tlsServer runs h behind a key of its own, and gives its pin.
func tlsServer(t *testing.T, h http.Handler, most uint16) (srv *httptest.Server, pin string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1)} // valid at no time, for no name
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	srv = httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: most}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	sum := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
	return srv, base64.RawURLEncoding.EncodeToString(sum[:])
}

// Secrets are asked for over TLS of the one server that has the key; any other hears nothing of the token.
func TestClaimIsPinned(t *testing.T) {
	var heard atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Add(1)
		var c Claim
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || r.TLS.Version != tls.VersionTLS13 || len(c.Key) != 64 || c.Token != "secret" {
			t.Errorf("claim %+v over TLS %x: %v", c, r.TLS.Version, err)
		}
		json.NewEncoder(w).Encode(Claimed{Files: []File{{Path: "/etc/key"}}})
	})
	srv, pin := tlsServer(t, h, 0)
	other, wrong := tlsServer(t, h, 0)
	old, oldPin := tlsServer(t, h, tls.VersionTLS12)
	params := Params{MAC: "52:54:00:aa:00:01", Token: "secret", Pin: pin}
	a := &Agent{params: params}
	files, err := a.claim(t.Context(), &Spec{Secure: srv.URL + "/"})
	if err != nil || len(files) != 1 {
		t.Errorf("claim: %v, %v", files, err)
	}
	key := a.key
	if _, err := a.claim(t.Context(), &Spec{Secure: srv.URL}); err != nil || a.key != key || heard.Load() != 2 {
		t.Errorf("claim again: %v, key %q and %q", err, key, a.key)
	}
	_, err = a.claim(t.Context(), &Spec{Secure: other.URL})
	if err == nil || !strings.Contains(err.Error(), "pin "+wrong) || !strings.Contains(err.Error(), ParamPin+"="+pin) || errors.Is(err, errClaimed) {
		t.Errorf("another server: %v, want both pins, %s and %s", err, wrong, pin)
	}
	a.params.Pin = oldPin
	if _, err = a.claim(t.Context(), &Spec{Secure: old.URL}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
	for want, a := range map[string]*Agent{
		"has no muster.pin=": {},
		"is no https URL":    {params: params},
	} {
		if _, err := a.claim(t.Context(), &Spec{Secure: "http://x"}); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if heard.Load() != 2 {
		t.Errorf("%d claims were heard, want 2", heard.Load())
	}
	// The others of the rack are asked too, with the same port; and the boot server may have more than a name.
	a.params.Pin = pin
	a.params.Servers = []string{"http://" + strings.TrimPrefix(srv.URL, "https://"), "http://127.0.0.1:8080"}
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "https://"), ":")
	if _, err := a.claim(t.Context(), &Spec{Secure: "https://127.0.0.9:" + port}); err != nil {
		t.Errorf("by way of another boot server: %v", err)
	}
}

func secretSpec() *Spec {
	s := webSpec()
	s.Secure, s.Revision = "https://one:8443", "r1"
	return s
}

// pinned makes a boot's command line one with a pin.
func pinned(t *testing.T, root string) {
	t.Helper()
	line := cmdlineOfWeb + " " + ParamPin + "=" + strings.Repeat("A", 43)
	if err := os.WriteFile(root+"/proc/cmdline", []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A boot with secrets: claimed again until a server answers, always with one key, and written for those alone
// who may read them.
func TestBootWithSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, k := machineTree(t), &fakeKernel{}
		pinned(t, root)
		write(t, root, map[string]string{
			"sysroot/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nknot:x:101:102::/:/bin/false\n",
			"sysroot/etc/group":  "root:x:0:\nknot:x:102:\nssl-cert:x:103:knot\n",
		})
		d := &fakeDirector{t: t, replies: []Reply{{Spec: secretSpec()}}, refuse: map[string][]int{PathClaim: {500, 404}},
			secrets: []File{{Path: "/etc/knot/key", Mode: 0o640, Owner: "knot:ssl-cert", Content: []byte("tsig")}}}
		a, scr := newAgent(root, k, servers{"one": d})
		a.HTTPS = &http.Client{Transport: servers{"one:8443": d}}
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.wantSteps("hello", "network", "root", "mount", "files!", "root", "mount", "files!", "root", "mount", "files", "switch-root")
		if len(d.claims) != 1 || len(d.claims[0].Key) != 64 || d.claims[0].Key != a.key || d.claims[0].Token != "secret" {
			t.Errorf("claims are %+v", d.claims)
		}
		name := root + "/sysroot/etc/knot/key"
		st, err := os.Stat(name)
		if err != nil || st.Mode() != 0o640 {
			t.Errorf("the secret: %v, %v", st.Mode(), err)
		}
		if b, _ := os.ReadFile(name); string(b) != "tsig" {
			t.Errorf("the secret is %q", b)
		}
		if isRoot() && !(inRoot{root + "/sysroot"}).same("/etc/knot/key", 0o640, owner{101, 103}, []byte("tsig")) {
			t.Error("the secret is not knot's")
		}
		if strings.Contains(scr.String(), "tsig") || strings.Contains(scr.String(), a.key) {
			t.Errorf("a secret is on the screen:\n%s", scr)
		}
	})
}

// A boot whose token somebody else has redeemed does not go on: the machine says so and begins anew.
func TestRefusedClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, k := machineTree(t), &fakeKernel{}
		pinned(t, root)
		d := &fakeDirector{t: t, replies: []Reply{{Spec: secretSpec()}}, refuse: map[string][]int{PathClaim: {403}}}
		a, scr := newAgent(root, k, servers{"one": d})
		a.HTTPS = &http.Client{Transport: servers{"one:8443": d}}
		if err := a.Run(context.WithoutCancel(t.Context())); !errors.Is(err, errClaimed) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("Run: %v", err)
		}
		const why = "somebody else redeemed this boot's token"
		scr.shows(t, why, "restart in 1m0s")
		if last := d.events[len(d.events)-1]; last.Step != "fail" || !strings.Contains(last.Message, why) {
			t.Errorf("the last event is %+v", last)
		}
		if k.calls("reboot") != "reboot" || k.calls("switch-root") != "" {
			t.Errorf("done: %q", k.done)
		}
	})
}

// A secret that would lie on a volume keeps a boot from going on, until its path is another; a file without one
// may lie there.
func TestSecretOnVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := machineTree(t)
		pinned(t, root)
		spec := secretSpec()
		spec.Files = append(spec.Files, File{Path: "/var/lib/web/page", Content: []byte("for all")})
		d := &fakeDirector{t: t, replies: []Reply{{Spec: spec}},
			secrets: []File{{Path: "/var/lib/web/key", Mode: 0o600, Content: []byte("tsig")}}}
		k := &fakeKernel{}
		a, scr := newAgent(root, k, servers{"one": d})
		a.HTTPS = &http.Client{Transport: servers{"one:8443": d}}
		a.volume = volumeAt(root+"/sysroot", "/var/lib/web")
		time.AfterFunc(30*time.Second, func() {
			if got := k.calls("switch-root"); got != "" {
				t.Errorf("all the same: %s", got)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.secrets = []File{{Path: "/etc/key", Mode: 0o600, Content: []byte("tsig")}}
		})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(root + "/sysroot/var/lib/web/key"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("on the volume: %v", err)
		}
		for name, want := range map[string]string{"etc/key": "tsig", "var/lib/web/page": "for all"} {
			if b, err := os.ReadFile(root + "/sysroot/" + name); string(b) != want {
				t.Errorf("%s has %q, %v", name, b, err)
			}
		}
		const why = "file /var/lib/web/key: it has a secret and would lie on a volume: choose a path outside of it"
		scr.shows(t, why)
		if i := slices.Index(d.steps(), "files!"); i < 0 || !strings.Contains(d.events[i].Error, why) {
			t.Errorf("the events are %+v", d.events)
		}
	})
}
