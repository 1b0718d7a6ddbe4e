package httpboot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// LoadCertificate reads the key (ECDSA P-256) and certificate that ListenSecure answers with, and makes them,
// durably and for their owner only (mode 0600), where file does not exist. Nodes know the key by its pin and
// look at nothing else of the certificate, so it is self-signed, names nobody and does not expire. Boot
// servers that share a rack share the file. The error wraps fs.ErrInvalid for a file that holds something else.
func LoadCertificate(file string) (tls.Certificate, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = makeCertificate(); err == nil {
			b, err = keepNew(file, b)
		}
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("httpboot: TLS key: %w", err)
	}
	cert, err := tls.X509KeyPair(b, b)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("httpboot: TLS key %s: %w: %w "+
			"(move it away, and a new one is made: nodes that run take it when they are restarted)", file, fs.ErrInvalid, err)
	}
	return cert, nil
}

// Pin gives what agent.ParamPin says of cert: the SHA-256 of its SubjectPublicKeyInfo (RFC 7469 §2.4), in
// base64url without padding.
func Pin(cert tls.Certificate) (string, error) {
	if len(cert.Certificate) == 0 {
		return "", fmt.Errorf("httpboot: no certificate: %w", fs.ErrInvalid)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return "", fmt.Errorf("httpboot: certificate: %w: %w", fs.ErrInvalid, err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// makeCertificate gives a new key and its certificate in PEM.
func makeCertificate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Muster boot server"},
		// RFC 5280 §4.1.2.5: no well-defined expiration. A clock that is years off is a machine's own trouble.
		NotBefore: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// keepNew makes file with content b and mode 0600: whole or not at all, whenever the power goes. Where
// another process was faster, its content is the one that counts, and is returned.
func keepNew(file string, b []byte) ([]byte, error) {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, ".tls-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), file); errors.Is(err, fs.ErrExist) {
		return os.ReadFile(file)
	} else if err != nil {
		return nil, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return b, errors.Join(d.Sync(), d.Close())
}

// secureListener is a listener for TLS, whose connections are bounded apart from the others: running nodes
// keep theirs for long.
type secureListener struct{ net.Listener }

// ListenSecure is Listen for TLS 1.3 alone, with cert as the server's only certificate. Give the listener
// to a Serve of its own; both may run at the same time, and each has MaxConns connections.
func (s *Server) ListenSecure(addr string, cert tls.Certificate) (net.Listener, error) {
	ln, err := s.listen(addr, "httpboot.secure")
	if err != nil {
		return nil, err
	}
	return &secureListener{tls.NewListener(ln, &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
		// A node that reboots has no ticket any more, and one that runs keeps its connection.
		SessionTicketsDisabled: true,
	})}, nil
}

// secured lets a request through that came over TLS.
func secured(next func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.TLS == nil {
			return &kindError{"secrets go over TLS only: ask at the boot server's https URL", fs.ErrPermission}
		}
		return next(w, r)
	}
}
