package roles_test

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/roles"
)

const filesYAML = `
roles:
- name: mail
  vars: {origin: example.org, limit: 10, relays: [10.0.0.1, 10.0.0.2], tune: {queue: 4}}
  secrets: [{name: host, kind: ssh}, {name: shared, scope: pool}, {name: tls, kind: tls}, {name: tsig, kind: key, scope: pool}]
  files:
  - path: /etc/mail/main
    owner: root:postfix
    mode: 0640
    reload: [postfix.service]
    content: |
      {{.Name}} {{.Number}} {{.FQDN}} {{.Address}} {{.Network}} {{.Router}} {{join " " .DNS}} {{.Domain}} {{.Server}} {{.Role}} {{.Image}}
      {{.Vars.origin}} {{.Vars.limit}} {{.Vars.relays | join ","}} {{.Vars.tune.queue}}
      {{.Pool.Name}}:{{range .Peers}} {{.Name}}={{.Address}}{{end}} web: {{(index .Pools.web.Members 0).FQDN}}
      {{lower "ABC"}} {{quote "a\"b"}} {{default "x" ""}} {{default "x" "y"}}
  - {path: /etc/ssh/key, content: '{{secret "host"}}'}
  - {path: /etc/ssh/key.pub, content: '{{public "host"}}'}
  - {path: /etc/pass, mode: 0440, content: 'p={{secret "shared"}}'}
  - {path: /etc/empty, content: ""}
pools:
- {name: mail, role: mail, size: {max: 3}, addresses: 10.77.0.90-10.77.0.92, vars: {limit: 20}, match: {product: [Mail]}}
`

var lan = roles.Network{Prefix: netip.MustParsePrefix("10.77.0.0/24"), Router: netip.MustParseAddr("10.77.0.1"),
	DNS: []netip.Addr{netip.MustParseAddr("10.77.0.1"), netip.MustParseAddr("9.9.9.9")}, Domain: "rack.example", Server: netip.MustParseAddr("10.77.0.2")}

// wired is a rack that serves a network, with the pool mail.
func wired(t *testing.T) *rack {
	t.Helper()
	r := newRack(t)
	r.Network = func(a netip.Addr) (roles.Network, bool) {
		if !lan.Prefix.Contains(a) {
			return roles.Network{}, false
		}
		return lan, true
	}
	r.declare(filesYAML)
	return r
}

func (r *rack) files(slot string) roles.NodeFiles {
	r.t.Helper()
	f, err := r.Files(r.t.Context(), slot, "mail:7")
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func file(f roles.NodeFiles, path string) roles.NodeFile {
	for _, n := range f.Files {
		if n.Path == path {
			return n
		}
	}
	return roles.NodeFile{}
}

func TestFiles(t *testing.T) {
	r := wired(t)
	got := r.files("mail-02")
	var paths []string
	for _, f := range got.Files {
		paths = append(paths, f.Path)
	}
	if d := cmp.Diff([]string{"/etc/empty", "/etc/mail/main", "/etc/pass", "/etc/ssh/key", "/etc/ssh/key.pub"}, paths); d != "" {
		t.Errorf("paths: %s", d)
	}
	want := `mail-02 2 mail-02.rack.example 10.77.0.91 10.77.0.0/24 10.77.0.1 10.77.0.1 9.9.9.9 rack.example 10.77.0.2 mail mail:7
example.org 20 10.0.0.1,10.0.0.2 4
mail: mail-01=10.77.0.90 mail-03=10.77.0.92 web: web-01.rack.example
abc "a\"b" x y
`
	main := file(got, "/etc/mail/main")
	if d := cmp.Diff(want, string(main.Content)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	main.Content = nil
	if d := cmp.Diff(roles.NodeFile{Path: "/etc/mail/main", Mode: 0o640, Owner: "root:postfix", Reload: []string{"postfix.service"}}, main); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for path, want := range map[string]roles.NodeFile{
		"/etc/ssh/key": {Mode: 0o600, Secret: true}, "/etc/ssh/key.pub": {Mode: 0o644}, "/etc/pass": {Mode: 0o440, Secret: true}, "/etc/empty": {Mode: 0o644},
	} {
		f := file(got, path)
		if f.Mode != want.Mode || f.Secret != want.Secret {
			t.Errorf("%s: mode %s, secret %v; want %s and %v", path, f.Mode, f.Secret, want.Mode, want.Secret)
		}
	}
	if pub := string(file(got, "/etc/ssh/key.pub").Content); !strings.HasPrefix(pub, "ssh-ed25519 ") || !strings.HasSuffix(pub, " mail-02") {
		t.Errorf("public key %q", pub)
	}
	if _, err := r.Files(t.Context(), "mail-04", "mail:7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a slot that there is not: %v", err)
	}
	if f := r.files("web-01"); len(f.Files) != 0 || f.Revision == "" {
		t.Errorf("a role without files: %+v", f)
	}
}

// The revision is that of the content, of every part of it, and of nothing else.
func TestFilesRevision(t *testing.T) {
	r := wired(t)
	seen := map[string]string{}
	see := func(what, slot string) {
		t.Helper()
		rev := r.files(slot).Revision
		if other, ok := seen[rev]; ok {
			t.Errorf("after %s the revision is that of %s", what, other)
		}
		seen[rev] = what
		if again := r.files(slot).Revision; again != rev {
			t.Errorf("after %s the revision changes by itself", what)
		}
	}
	see("nothing", "mail-01")
	see("the next slot", "mail-02")
	before := r.files("mail-01").Revision
	r.powerOn(mac(1))
	r.declare("nodes: [{mac: 52:54:00:aa:00:07, labels: {a: b}}]")
	if r.files("mail-01").Revision != before {
		t.Error("a boot of another machine changes the revision")
	}
	for _, c := range [][2]string{{"mode: 0640", "mode: 0600"}, {"root:postfix", "root:root"}, {"[postfix.service]", "[dovecot.service]"}, {"limit: 20", "limit: 30"}, {"/etc/empty", "/etc/empties"}} {
		r.declare(strings.Replace(filesYAML, c[0], c[1], 1))
		see(c[1], "mail-01")
	}
	for _, key := range []string{"slot/mail-01/host", "pool/mail/shared"} {
		if _, err := r.RotateSecret(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		see("rotating "+key, "mail-01")
	}
	// The secret is in no file.
	before = r.files("mail-01").Revision
	if _, err := r.RotateSecret(t.Context(), "pool/mail/tsig"); err != nil {
		t.Fatal(err)
	}
	if r.files("mail-01").Revision != before {
		t.Error("a secret that no file has changes the revision")
	}
	// Another process, with the same store.
	other := roles.Registry{Store: r.Store, Images: r.Images, Network: r.Network}
	if f, err := other.Files(t.Context(), "mail-01", "mail:7"); err != nil || f.Revision != before {
		t.Errorf("another process has revision %s (%v), not %s", f.Revision, err, before)
	}
}

// Who knows the files but for a password must not find out the password by the revision: two racks with the same
// files and the same password have different ones.
func TestFilesRevisionTellsNothing(t *testing.T) {
	var revisions []string
	for range 2 {
		r := newRack(t)
		r.declare(`roles: [{name: web, secrets: [{name: p}], files: [{path: /etc/p, content: '{{secret "p"}}'}]}]`)
		if _, err := r.SetSecret(t.Context(), "slot/web-01/p", []byte("hunter2")); err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, r.files("web-01").Revision)
	}
	if revisions[0] == revisions[1] {
		t.Error("the revision is a digest of the password")
	}
}

// Without a network, what needs none is rendered all the same.
func TestFilesWithoutNetwork(t *testing.T) {
	r := newRack(t)
	r.declare(`roles: [{name: web, files: [{path: /etc/a, content: "{{.Address}}"}]}]`)
	if got := string(r.files("web-03").Files[0].Content); got != "10.77.0.22" {
		t.Errorf("got %q", got)
	}
	r.declare(`roles: [{name: web, files: [{path: /etc/a, content: "{{range .Peers}}{{if eq .Number 2}}{{.FQDN}}{{end}}{{end}}"}]}]`)
	_, err := r.Files(t.Context(), "web-03", "web:1")
	if want := "roles: file /etc/a of role web, for web-03: needs .FQDN, and this server serves no network with 10.77.0.22"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// An error of a template says what is wrong, and never a secret.
func TestFilesErrorsTellNoSecret(t *testing.T) {
	r := newRack(t)
	// With the placeholder, which is all the letter x, this works.
	r.declare(`roles: [{name: web, secrets: [{name: p}], files: [{path: /etc/p, content: '{{$p := secret "p"}}{{if ne (slice $p 0 3) "xxx"}}{{secret $p}}{{end}}'}]}]`)
	if _, err := r.SetSecret(t.Context(), "slot/web-01/p", []byte("hunter2")); err != nil {
		t.Fatal(err)
	}
	_, err := r.Files(t.Context(), "web-01", "web:1")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), `no secret "[secret]"`) {
		t.Errorf("got %v", err)
	}
}

// logTo is a log that a test reads.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
