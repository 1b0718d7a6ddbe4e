package serve

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"muster/httpboot"
	"muster/images"
)

// keys are what this server proves itself with. They are made at its first start and stay in the data
// directory, for root only.
type keys struct {
	// images signs images; a node that holds its root in RAM checks it against the key in its command line.
	images ed25519.PrivateKey
	// tls is the server's certificate, and pin what nodes know it by.
	tls tls.Certificate
	pin string
}

// loadKeys reads the keys below data, and makes those that are missing.
func loadKeys(data string) (k keys, err error) {
	dir := filepath.Join(data, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return k, fmt.Errorf("keys: %w", err)
	}
	if k.images, err = images.LoadKey(filepath.Join(dir, "images.pem")); err != nil {
		return k, err
	}
	if k.tls, err = httpboot.LoadCertificate(filepath.Join(dir, "tls.pem")); err != nil {
		return k, err
	}
	k.pin, err = httpboot.Pin(k.tls)
	return k, err
}

// public is the public half of the images' key, as a command line has it.
func (k keys) public() string {
	return base64.RawURLEncoding.EncodeToString(k.images.Public().(ed25519.PublicKey))
}
