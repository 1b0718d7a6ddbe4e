package roles_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/roles"
)

// certificate is an operator's, in the order that other tools have: certificate first.
func certificate(t *testing.T, name string) []byte {
	t.Helper()
	return issue(t, name, noon.Add(-time.Hour), noon.Add(time.Hour))
}

func issue(t *testing.T, name string, from, to time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})...)
}

// value is what a secret is, past everything that hides it.
func (r *rack) value(key string) string {
	r.t.Helper()
	var s roles.Secret
	_ = r.Store.View(func(tx roles.Tx) error { s, _ = tx.Secrets().Get(key); return nil })
	return string(s.Value)
}

func TestSecretsAreMadeAndKept(t *testing.T) {
	r := wired(t)
	if s, err := r.Secrets(); err != nil || len(s) != 0 {
		t.Errorf("before anybody needs them there are %v, %v", s, err)
	}
	r.files("mail-01")
	r.files("mail-02")
	list, err := r.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, s := range list {
		keys = append(keys, s.String())
		if len(s.Value) > 0 || s.Given || !s.Made.Equal(r.now) || (s.Public == "") != (s.Kind == roles.SecretKey || s.Kind == roles.SecretPassword) {
			t.Errorf("%s is listed with %d bytes of value, public %q, made %s, given %v", s, len(s.Value), s.Public, s.Made, s.Given)
		}
	}
	if d := cmp.Diff([]string{"pool/mail/shared (password)", "pool/mail/tsig (key)", "slot/mail-01/host (ssh)", "slot/mail-01/tls (tls)",
		"slot/mail-02/host (ssh)", "slot/mail-02/tls (tls)"}, keys); d != "" {
		t.Errorf("secrets: %s", d)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9]{24}$`).MatchString(r.value("pool/mail/shared")) {
		t.Errorf("the password is %q", r.value("pool/mail/shared"))
	}
	if b, err := base64.StdEncoding.DecodeString(r.value("pool/mail/tsig")); err != nil || len(b) != 32 {
		t.Errorf("the key is %q", r.value("pool/mail/tsig"))
	}
	if r.value("slot/mail-01/host") == r.value("slot/mail-02/host") {
		t.Error("two slots have the same key")
	}
}

// TestReplacementKeepsHostKey: a machine that takes over a slot is the same host to everybody.
func TestReplacementKeepsHostKey(t *testing.T) {
	r := wired(t)
	r.declare("nodes: [{mac: 52:54:00:aa:00:01, pool: mail, slot: mail-01}]")
	_, o := r.powerOn(mac(1))
	before, err := r.Files(t.Context(), o.Slot.Name, o.Image.Ref.String())
	if err != nil {
		t.Fatal(err)
	}
	r.check(1, nil)
	r.check(3, errors.New("connection refused"))
	if _, err := r.Replace(t.Context(), "mail-01", mac(2).String()); err != nil {
		t.Fatal(err)
	}
	_, o = r.powerOn(mac(2))
	if o.Slot == nil || o.Slot.Name != "mail-01" || o.Node.MAC != mac(2) {
		t.Fatalf("orders %+v", o)
	}
	after, err := r.Files(t.Context(), o.Slot.Name, o.Image.Ref.String())
	if d := cmp.Diff(before, after); d != "" || err != nil {
		t.Errorf("%v, the replacement has other files: %s", err, d)
	}
	if len(file(after, "/etc/ssh/key").Content) == 0 {
		t.Error("there is no host key")
	}
	// The rack shrinks and grows: the slot that comes again is the same host.
	key := r.value("slot/mail-01/host")
	r.files("mail-03")
	third := r.value("slot/mail-03/host")
	r.declare(strings.Replace(filesYAML, "max: 3", "max: 2", 1))
	r.declare(filesYAML)
	r.files("mail-03")
	if r.value("slot/mail-03/host") != third || r.value("slot/mail-01/host") != key {
		t.Error("a slot has another key after its pool was small for a while")
	}
	// A pool that is gone leaves none.
	if _, err := r.Release(t.Context(), "mail-01"); err != nil {
		t.Fatal(err)
	}
	d := r.parse(rackYAML)
	if _, err := r.Apply(t.Context(), d, roles.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	if s, _ := r.Secrets(); len(s) != 0 {
		t.Errorf("after the pool is gone there are %v", s)
	}
	r.declare(filesYAML)
	r.files("mail-01")
	if r.value("slot/mail-01/host") == key {
		t.Error("a new pool has the key of the old one")
	}
}

// Two nodes that boot at the same time have the same secret of their pool.
func TestSecretsAtOnce(t *testing.T) {
	r := wired(t)
	const nodes = 3
	files := make([]roles.NodeFiles, nodes)
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			f, err := r.Files(t.Context(), []string{"mail-01", "mail-02", "mail-03"}[i], "mail:7")
			if err != nil {
				t.Error(err)
			}
			files[i] = f
		})
	}
	wg.Wait()
	for _, f := range files {
		if got := string(file(f, "/etc/pass").Content); got != "p="+r.value("pool/mail/shared") {
			t.Errorf("got %q", got)
		}
	}
}

func TestCertificate(t *testing.T) {
	r := wired(t)
	r.declare(`roles: [{name: web, secrets: [{name: own, kind: tls}, {name: all, kind: tls, scope: pool}, {name: some, kind: tls, scope: pool,
  names: ["*.{{.Domain}}", "{{range .Pool.Members}}{{if lt .Number 3}}{{.Name}} {{end}}{{end}}", 10.77.0.20]}]}]
pools: [{name: web, role: web, size: {max: 2}, addresses: 10.77.0.20-10.77.0.22, match: {arch: [x86_64]}}]`)
	r.files("web-02")
	for key, want := range map[string][]string{
		"slot/web-02/own": {"web-02.rack.example"},
		"pool/web/all":    {"web.rack.example", "web-01.rack.example", "web-02.rack.example", "web-03.rack.example"}, // room to grow
		"pool/web/some":   {"*.rack.example", "web-01", "web-02"},
	} {
		value := []byte(r.value(key))
		pair, err := tls.X509KeyPair(value, value)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if !bytes.HasPrefix(value, []byte("-----BEGIN "+"PRIVATE KEY-----")) {
			t.Errorf("%s does not begin with the key", key)
		}
		c := pair.Leaf
		if d := cmp.Diff(want, c.DNSNames); d != "" {
			t.Errorf("%s: names %s", key, d)
		}
		if c.IsCA {
			t.Errorf("%s can sign others", key)
		}
		if c.NotAfter.Before(noon.AddDate(9, 11, 0)) || c.NotBefore.After(noon) || (len(c.IPAddresses) > 0) != (key == "pool/web/some") {
			t.Errorf("%s: from %s to %s, for %v", key, c.NotBefore, c.NotAfter, c.IPAddresses)
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon, DNSName: strings.Replace(want[0], "*", "x", 1)}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A pool grows past the addresses that it had: its certificate is not for the new slots, and their boots say so.
func TestCertificateOfGrownPool(t *testing.T) {
	r := wired(t)
	grow := func(last int) {
		r.declare(fmt.Sprintf(`roles: [{name: web, secrets: [{name: all, kind: tls, scope: pool}]}]
pools: [{name: web, role: web, addresses: 10.77.0.20-10.77.0.%d, match: {arch: [x86_64]}}]`, last))
	}
	told := func(m roles.MAC) string {
		r.hello(m)
		b, err := r.Boot(m.String(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, ev := range b.Events {
			if ev.Error != "" {
				out = append(out, ev.Error)
			}
		}
		if last := b.Events[len(b.Events)-1]; last.Step != roles.StepSpec {
			t.Errorf("the last event is %+v", last)
		}
		return strings.Join(out, "\n")
	}
	grow(20)
	r.files("web-01")
	before := r.value("pool/web/all")
	grow(21)
	if got := told(mac(1)); got != "" {
		t.Errorf("web-01: %s", got)
	}
	want := "the certificate pool/web/all is not for web-02.rack.example, which it is older than: clients refuse that name; muster secret rotate pool/web/all makes one that is"
	if got := told(mac(2)); got != want {
		t.Errorf("web-02: %q", got)
	}
	if r.files("web-02"); r.value("pool/web/all") != before {
		t.Error("the certificate changed by itself")
	}
	if _, err := r.RotateSecret(t.Context(), "pool/web/all"); err != nil {
		t.Fatal(err)
	}
	if got := told(mac(2)); got != "" {
		t.Errorf("after it was rotated: %s", got)
	}
	// An operator's is for what names they like.
	if _, err := r.SetSecret(t.Context(), "pool/web/all", certificate(t, "example.org")); err != nil {
		t.Fatal(err)
	}
	if got := told(mac(2)); got != "" {
		t.Errorf("an operator's: %s", got)
	}
}

func TestSetSecret(t *testing.T) {
	r := wired(t)
	var log bytes.Buffer
	r.Log = logTo(&log)
	good := string(certificate(t, "mail-01"))
	cert, key := good[:strings.Index(good, "-----BEGIN EC")], good[strings.Index(good, "-----BEGIN EC"):]
	r.files("mail-01")
	ssh := r.value("slot/mail-01/host")
	for _, tt := range []struct{ key, value, want string }{
		{"pool/mail/shared", "secret word\n", "secret word"},
		{"pool/mail/shared", "schlüssel", "schlüssel"},
		{"pool/mail/tsig", "AAAA\nBBBB", "AAAABBBB"},
		{"pool/mail/tsig", "AA", "AA=="},
		{"slot/mail-02/tls", good, key + cert},
		{"slot/mail-02/tls", "a text\n" + key + "more\n" + cert, key + cert},
		{"slot/mail-03/tls", string(issue(t, "x", noon.Add(time.Hour), noon.Add(2*time.Hour))), ""},
	} {
		s, err := r.SetSecret(t.Context(), tt.key, []byte(tt.value))
		if err != nil || !s.Given || len(s.Value) > 0 || tt.want != "" && r.value(tt.key) != tt.want {
			t.Errorf("%s to %.20q: %+v, %v; the value is %q", tt.key, tt.value, s, err, r.value(tt.key))
		}
	}
	if !strings.Contains(log.String(), "not valid before 2026-11-22 13:00:00") {
		t.Errorf("nobody is warned of a certificate that is not valid yet: %s", &log)
	}
	if _, err := r.SetSecret(t.Context(), "slot/mail-02/host", []byte(ssh)); err != nil {
		t.Error(err)
	}
	if a, b := r.file("mail-02", "/etc/ssh/key.pub"), r.file("mail-01", "/etc/ssh/key.pub"); a != b {
		t.Errorf("the public half is %q, not %q", a, b)
	}
	if want := `the certificate is not for mail-02.rack.example`; !strings.Contains(log.String(), want) {
		t.Errorf("nobody is warned that %s: %s", want, &log)
	}
	log.Reset()
	if _, err := r.SetSecret(t.Context(), "slot/mail-02/tls", certificate(t, "*.rack.example")); err != nil || strings.Contains(log.String(), "WARN") {
		t.Errorf("%v; %s", err, &log)
	}
	expired := string(issue(t, "x", noon.Add(-2*time.Hour), noon.Add(-time.Hour)))
	other := string(certificate(t, "x"))
	for _, tt := range []struct {
		key, value, want string
		kind             error
	}{
		{"pool/mail/shared", "", "roles: secret pool/mail/shared: a password cannot be empty", fs.ErrInvalid},
		{"pool/mail/shared", "a\nb", "a password is one line of text", fs.ErrInvalid},
		{"pool/mail/shared", "\xff", "a password is one line of text", fs.ErrInvalid},
		{"pool/mail/shared", strings.Repeat("x", 1025), "a password has at most 1024 bytes", fs.ErrInvalid},
		{"pool/mail/shared", strings.Repeat("x", 1<<20), "a value has at most 256 KiB", fs.ErrInvalid},
		{"pool/mail/tsig", "not base64!", "a key is bytes in base64", fs.ErrInvalid},
		{"slot/mail-01/host", "x", "want an Ed25519 key without a passphrase", fs.ErrInvalid},
		{"slot/mail-01/host", good, "want an Ed25519 key without a passphrase", fs.ErrInvalid},
		{"slot/mail-01/tls", cert, "want a private key and its certificate, both in PEM", fs.ErrInvalid},
		{"slot/mail-01/tls", key, "want a private key and its certificate, both in PEM", fs.ErrInvalid},
		{"slot/mail-01/tls", key + good, "there are two private keys", fs.ErrInvalid},
		{"slot/mail-01/tls", cert + other[strings.Index(other, "-----BEGIN EC"):], "private key does not match public key", fs.ErrInvalid},
		{"slot/mail-01/tls", expired, "the certificate expired at 2026-11-22 11:00:00", fs.ErrInvalid},
		{"slot/mail-01/tls", cert + strings.ReplaceAll(key, "EC PRIVATE", "ENCRYPTED PRIVATE"), "the key has a passphrase", fs.ErrInvalid},
		{"pool/mail/host", "x", `role mail declares no secret "host" of a pool (it declares: slot host, pool shared, slot tls, pool tsig)`, fs.ErrNotExist},
		{"slot/mail-01/x", "x", `declares no secret "x" of a slot`, fs.ErrNotExist},
		{"slot/mail-04/host", "x", `slot "mail-04" does not exist`, fs.ErrNotExist},
		{"pool/dns/host", "x", `pool "dns" does not exist (there are: mail, ntp, web)`, fs.ErrNotExist},
		{"rack/files", "x", `"rack/files" is not a secret's key (want pool/POOL/NAME or slot/SLOT/NAME)`, fs.ErrNotExist},
		{"", "x", `"" is not a secret's key`, fs.ErrNotExist},
	} {
		_, err := r.SetSecret(t.Context(), tt.key, []byte(tt.value))
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s to %.20q: got %v, want %s", tt.key, tt.value, err, tt.want)
		}
	}
}

func (r *rack) file(slot, path string) string {
	r.t.Helper()
	return string(file(r.files(slot), path).Content)
}

func TestRotateSecret(t *testing.T) {
	r := wired(t)
	r.files("mail-01")
	for _, key := range []string{"slot/mail-01/host", "slot/mail-01/tls", "pool/mail/shared", "pool/mail/tsig", "slot/mail-03/tls"} {
		before := r.value(key)
		r.now = r.now.Add(time.Second)
		s, err := r.RotateSecret(t.Context(), key)
		if err != nil || s.Key != key || len(s.Value) > 0 || s.Given || !s.Made.Equal(r.now) || r.value(key) == before || r.value(key) == "" {
			t.Errorf("%s: %+v, %v", key, s, err)
		}
	}
	if _, err := r.SetSecret(t.Context(), "pool/mail/shared", []byte("hunter2")); err != nil {
		t.Fatal(err)
	}
	if s, err := r.RotateSecret(t.Context(), "pool/mail/shared"); err != nil || s.Given || r.value("pool/mail/shared") == "hunter2" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, key := range []string{"pool/mail/x", "rack/files", "slot/mail-09/host", "pool//", "x"} {
		if _, err := r.RotateSecret(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// What a role declares anew as another kind is made anew, unless an operator set it.
func TestSecretChangesKind(t *testing.T) {
	r := newRack(t)
	role := func(kind string) {
		r.declare("roles: [{name: web, secrets: [{name: s, kind: " + kind + ", length: 40}]}]")
	}
	role("password")
	r.files("web-01")
	if got := r.value("slot/web-01/s"); len(got) != 40 {
		t.Errorf("password %q", got)
	}
	role("key")
	r.files("web-01")
	if b, err := base64.StdEncoding.DecodeString(r.value("slot/web-01/s")); err != nil || len(b) != 40 {
		t.Errorf("key %q", r.value("slot/web-01/s"))
	}
	// Nobody looks at a library that has changed before it is needed.
	r.Library = map[string]roles.Role{"lib": {Name: "lib", Secrets: []roles.SecretSpec{{Name: "s", Kind: roles.SecretKey}}}}
	r.declare("pools: [{name: lib, role: lib, addresses: 10.77.0.90}]")
	if _, err := r.SetSecret(t.Context(), "slot/lib-01/s", []byte("AAAA")); err != nil {
		t.Fatal(err)
	}
	r.Library["lib"] = roles.Role{Name: "lib", Secrets: []roles.SecretSpec{{Name: "s", Kind: roles.SecretSSH}}}
	_, err := r.Files(t.Context(), "lib-01", "lib:1")
	if want := "roles: secret slot/lib-01/s was set as key, and the role declares ssh: set it anew, or rotate it"; !errors.Is(err, fs.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if r.value("slot/lib-01/s") != "AAAA" {
		t.Error("what an operator set is gone")
	}
}

// OpenSSH and OpenSSL read what is made.
func TestSecretsOfOthers(t *testing.T) {
	for _, tool := range []string{"ssh-keygen", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ssh-keygen and openssl: ", err)
		}
	}
	r := wired(t)
	r.files("mail-01")
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	key := write("key", r.value("slot/mail-01/host"))
	if got, want := run("ssh-keygen", "-y", "-f", key), r.file("mail-01", "/etc/ssh/key.pub"); got != want {
		t.Errorf("ssh-keygen says %q, we %q", got, want)
	}
	theirs := filepath.Join(dir, "theirs")
	run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "by hand", "-f", theirs)
	text, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.SetSecret(t.Context(), "slot/mail-02/host", text); err != nil {
		t.Fatal(err)
	}
	public, _ := os.ReadFile(theirs + ".pub")
	if got := r.file("mail-02", "/etc/ssh/key.pub"); got != strings.TrimSpace(string(public)) {
		t.Errorf("the public half is %q, not %q", got, public)
	}
	if got := run("ssh-keygen", "-y", "-f", write("again", r.value("slot/mail-02/host"))); got != strings.TrimSpace(string(public)) {
		t.Errorf("what was set is now %q", got)
	}
	for _, args := range [][]string{{"-t", "ecdsa", "-N", ""}, {"-t", "ed25519", "-N", "hunter2"}} {
		os.Remove(theirs)
		run(append([]string{"ssh-keygen", "-q", "-f", theirs}, args...)...)
		text, _ := os.ReadFile(theirs)
		if _, err := r.SetSecret(t.Context(), "slot/mail-02/host", text); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", args, err)
		}
	}
	cert := write("cert", r.value("slot/mail-01/tls"))
	if got := run("openssl", "verify", "-CAfile", cert, "-verify_hostname", "mail-01.rack.example", "-attime", "1800000000", "-x509_strict", "-purpose", "sslserver", cert); !strings.HasSuffix(got, ": OK") {
		t.Error(got)
	}
	run("openssl", "pkey", "-in", cert, "-check", "-noout")
}

// Whatever is given as a key, it is one or refused, and reading what we write gives the same.
func FuzzSSHKey(f *testing.F) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	f.Add(roles.EncodeSSHKey(ed25519.NewKeyFromSeed(seed), "web-01"))
	f.Add([]byte("-----BEGIN " + "OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		private, public, err := roles.ReadSSHKey(text)
		if err != nil {
			return
		}
		again, line, err := roles.ReadSSHKey(private)
		if err != nil || line != public || len(again) != len(private) {
			t.Errorf("%q becomes %q, then %q (%v)", text, public, line, err)
		}
	})
}
