package images

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LoadKey reads the Ed25519 key with which a server signs its images, and makes one, durably and for its
// owner only (mode 0600), where file does not exist. The file is PKCS #8 in PEM; the public half is beside it
// in file.pub (PKIX in PEM).
//
// The error wraps fs.ErrInvalid when file holds no such key, and fs.ErrPermission when others may read it.
func LoadKey(file string) (ed25519.PrivateKey, error) {
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(file); err == nil {
			key, err = readKey(file) // ours, or that of who was faster
		}
	}
	if err == nil {
		err = writePublic(file+".pub", key)
	}
	if err != nil {
		return nil, fmt.Errorf("images: signing key: %w", err)
	}
	return key, nil
}

func readKey(file string) (ed25519.PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may read it (mode %04o): make a new one, or chmod 600 if nobody did: %w", file, mode, fs.ErrPermission)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: holds no PRIVATE KEY in PEM: %w", file, fs.ErrInvalid)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, err, fs.ErrInvalid)
	}
	key, is := any.(ed25519.PrivateKey)
	if !is {
		return nil, fmt.Errorf("%s: holds a %T, want an Ed25519 key: %w", file, any, fs.ErrInvalid)
	}
	return key, nil
}

// makeKey makes a key, unless somebody else just did.
func makeKey(file string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = pem.Encode(tmp, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// A link, not a rename: a key that is there already must never be replaced.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// writePublic writes the public half, unless it is there.
func writePublic(file string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	want := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if got, err := os.ReadFile(file); err == nil && bytes.Equal(got, want) {
		return nil
	}
	return replaceFile(file, want)
}
