package images

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestLoadKeyMakesOneOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "etc", "key")
	key, err := LoadKey(file)
	must(t, err)
	for name, mode := range map[string]fs.FileMode{file: 0o600, file + ".pub": 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
	again, err := LoadKey(file)
	if err != nil || !key.Equal(again) {
		t.Errorf("the second LoadKey gave another key, %v", err)
	}
	b, err := os.ReadFile(file + ".pub")
	must(t, err)
	block, _ := pem.Decode(b)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil || !key.Public().(ed25519.PublicKey).Equal(public) {
		t.Errorf("the public half is %v, %v", public, err)
	}
	// A public half that is lost or wrong is made again.
	must(t, os.WriteFile(file+".pub", []byte("?"), 0o644))
	_, err = LoadKey(file)
	must(t, err)
	if now, err := os.ReadFile(file + ".pub"); err != nil || !bytes.Equal(now, b) {
		t.Errorf("the public half became %q, %v", now, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// openssl reads and writes the same files.
func TestLoadKeyAndOpenssl(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skipf("needs openssl: %v", err)
	}
	file := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("openssl", "genpkey", "-algorithm", "ed25519", "-out", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Chmod(file, 0o600))
	_, err = LoadKey(file)
	must(t, err)
	want, err := exec.Command("openssl", "pkey", "-in", file, "-pubout").Output()
	must(t, err)
	if got, err := os.ReadFile(file + ".pub"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the public half is %q, %v; openssl says %q", got, err, want)
	}
}

func TestLoadKeyTakesNothingElse(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		mode    fs.FileMode
		want    error
	}{
		"empty":   {"", 0o600, fs.ErrInvalid},
		"garbage": {"hello\n", 0o600, fs.ErrInvalid},
		"no key":  {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hello")})), 0o600, fs.ErrInvalid},
		"public":  {"-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n", 0o600, fs.ErrInvalid},
		"open":    {"x", 0o644, fs.ErrPermission},
	} {
		file := filepath.Join(t.TempDir(), "key")
		must(t, os.WriteFile(file, []byte(test.content), test.mode))
		if _, err := LoadKey(file); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != test.content {
			t.Errorf("%s: the file became %q, %v", name, b, err)
		}
	}
}

// Servers that start at once on one directory have one key.
func TestLoadKeyIsMadeOnceByMany(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	keys := make([]ed25519.PrivateKey, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = LoadKey(file); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys[1:] {
		if !k.Equal(keys[0]) {
			t.Fatal("two keys")
		}
	}
}
