package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// begin is apart from what follows it: nobody shall find keys in this repository.
const begin = "-----BEGIN "

// rooted writes files into a tree.
func rooted(t *testing.T, files map[string]string) (tree string) {
	t.Helper()
	tree = t.TempDir()
	for name, content := range files {
		name = filepath.Join(tree, name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(content), 0o600))
	}
	return tree
}

func TestPrivateKeysAreFound(t *testing.T) {
	keys := map[string]string{
		"etc/a.pem":             "some text\n" + begin + "PRIVATE KEY-----\n",
		"etc/ssl/b.pem":         begin + "EC PRIVATE KEY-----\n",
		"root/.ssh/id_ed25519":  begin + "OPENSSH PRIVATE KEY-----\n",
		"home/x/key.asc":        begin + "PGP PRIVATE KEY BLOCK-----\n",
		"srv/key.ppk":           "PuTTY-User-Key-File-2: ssh-rsa\n",
		"etc/bind/rndc.key":     "key \"rndc-key\" {\n\talgorithm hmac-sha256;\n\tsecret \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\";\n};\n",
		"etc/knot/tsig.conf":    "key:\n  - id: t\n    secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"var/lib/x/private.key": begin + "RSA PRIVATE KEY-----\n",
	}
	files := map[string]string{
		"etc/cert.pem":                begin + "CERTIFICATE-----\n",
		"etc/public":                  begin + "PUBLIC KEY-----\n",
		"etc/readme":                  "put " + begin + "PRIVATE KEY----- here, and a secret: of yours\n",
		"etc/empty":                   "",
		"etc/large":                   begin + "PRIVATE KEY-----\n" + strings.Repeat("x", keyMax),
		"usr/share/doc/x/example.pem": begin + "PRIVATE KEY-----\n",
	}
	var want []string
	for name, content := range keys {
		files[name] = content
		want = append(want, "/"+name)
	}
	tree := rooted(t, files)
	must(t, os.Symlink("/etc/shadow", filepath.Join(tree, "etc/link")))
	got, err := privateKeys(t.Context(), tree)
	must(t, err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %q\nwant  %q", got, want)
	}
}

func TestWidowedLinksGo(t *testing.T) {
	tree := rooted(t, map[string]string{"etc/ssl/certs/here.pem": "x", "usr/share/ca/ca.crt": "x"})
	for name, target := range map[string]string{
		"here.0": "here.pem", "ca.pem": "/usr/share/ca/ca.crt", "gone.0": "gone.pem", "gone.1": "gone.0", "lost.pem": "/usr/share/ca/lost.crt",
	} {
		must(t, os.Symlink(target, filepath.Join(tree, "etc/ssl/certs", name)))
	}
	must(t, widowed(tree, "etc/ssl/certs"))
	for name, stays := range map[string]bool{"here.pem": true, "here.0": true, "ca.pem": true, "gone.0": false, "gone.1": false, "lost.pem": false} {
		if _, err := os.Lstat(filepath.Join(tree, "etc/ssl/certs", name)); errors.Is(err, fs.ErrNotExist) == stays {
			t.Errorf("%s: %v; want it to stay: %t", name, err, stays)
		}
	}
	if err := widowed(t.TempDir(), "etc/ssl/certs"); err != nil {
		t.Errorf("without certificates: %v", err)
	}
}

func TestEmptyLogs(t *testing.T) {
	tree := rooted(t, map[string]string{"var/log/wtmp": "", "var/log/nginx/error.log": "", "var/log/alternatives.log": "x", "var/log/apt/term.log": "x"})
	must(t, emptyLogs(t.Context(), tree))
	for name, stays := range map[string]bool{"wtmp": true, "nginx/error.log": true, "alternatives.log": false, "apt": true, "apt/term.log": false} {
		if _, err := os.Lstat(filepath.Join(tree, "var/log", name)); errors.Is(err, fs.ErrNotExist) == stays {
			t.Errorf("%s: %v; want it to stay: %t", name, err, stays)
		}
	}
	if err := emptyLogs(t.Context(), t.TempDir()); err != nil {
		t.Errorf("without logs: %v", err)
	}
}
