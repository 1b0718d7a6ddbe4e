package roles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// certYears is how long a certificate of ours lasts: as long as the rack, since nobody renews it.
	certYears = 10
	// certBefore is for nodes whose clock is behind.
	certBefore = 24 * time.Hour
)

// newCertificate makes a P-256 key, which every TLS client and server in use takes (Ed25519 they do not), and a
// certificate that it signs itself (RFC 5280), for these names.
func newCertificate(names []string, now time.Time) (private []byte, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("roles: %w", err)
	}
	c := x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(random(16)),
		NotBefore:    now.Add(-certBefore).UTC(), NotAfter: now.AddDate(certYears, 0, 0).UTC(),
		// Who trusts it trusts these names, not what its key might sign.
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	const longest = 64 // of a common name, by RFC 5280's appendix A
	if len(names[0]) <= longest {
		c.Subject = pkix.Name{CommonName: names[0]}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		return nil, "", fmt.Errorf("roles: certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", fmt.Errorf("roles: %w", err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), cert...), string(cert), nil
}

// readCertificate gives an operator's key and certificates, key first, whatever their order is. Names are those
// that people will call the service by.
func readCertificate(value []byte, names []string, now time.Time) (private []byte, public string, warnings []string, err error) {
	var key, certs []byte
	for rest := value; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		text := pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})
		switch {
		case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
			return nil, "", nil, errors.New("the key has a passphrase, which no service could type")
		case strings.HasSuffix(b.Type, "PRIVATE KEY") && key != nil:
			return nil, "", nil, errors.New("there are two private keys")
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			key = text
		case b.Type == "CERTIFICATE":
			certs = append(certs, text...)
		}
	}
	if key == nil || certs == nil {
		return nil, "", nil, errors.New("want a private key and its certificate, both in PEM")
	}
	pair, err := tls.X509KeyPair(certs, key)
	if err != nil {
		return nil, "", nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	c := pair.Leaf
	switch {
	case now.After(c.NotAfter):
		return nil, "", nil, fmt.Errorf("the certificate expired at %s", c.NotAfter.Format(time.DateTime))
	case now.Before(c.NotBefore):
		warnings = append(warnings, "the certificate is not valid before "+c.NotBefore.Format(time.DateTime))
	}
	return append(bytes.Clone(key), certs...), string(certs), append(warnings, unnamed(c, names)...), nil
}

// unnamed warns of names that a certificate is not for.
func unnamed(c *x509.Certificate, names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return c.VerifyHostname(strings.Replace(n, "*", "any", 1)) == nil
	})
	if len(names) == 0 {
		return nil
	}
	const most = 3
	list := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		list += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return []string{"the certificate is not for " + list}
}

// unnamedSlot notes in the timeline of b, which is about to run as s, that the pool's certificate is of before
// there was such a slot. An operator's own is for what names its owner likes.
func (r *Registry) unnamedSlot(tx Tx, role Role, s Slot, b Boot, now time.Time) error {
	p, _ := tx.Pools().Get(s.Pool)
	n, _ := r.networkAt(s.Address)
	name := fqdn(s.Name, n.Domain)
	for _, spec := range role.Secrets {
		v, made := tx.Secrets().Get(spec.key(s.Pool, s.Name))
		if !made || v.Given || v.Kind != SecretTLS || spec.scope() != scopePool || len(spec.Names) > 0 || !slices.Contains(p.certNames(n.Domain), name) {
			continue
		}
		block, _ := pem.Decode([]byte(v.Public))
		if block == nil {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(unnamed(c, []string{name})) == 0 {
			continue
		}
		why := fmt.Sprintf("the certificate %s is not for %s, which it is older than: clients refuse that name; muster secret rotate %s makes one that is", v.Key, name, v.Key)
		if _, err := tx.Append(Event{Time: now, Node: b.Node, Name: s.Name, Boot: b.ID, Step: StepFiles, Error: why}); err != nil {
			return err
		}
	}
	return nil
}
