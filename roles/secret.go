package roles

import (
	"context"
	"errors"
	"time"
)

// SecretKind says what a secret is and how it is made.
type SecretKind string

// The kinds of secrets.
const (
	// SecretPassword is random letters and digits.
	SecretPassword SecretKind = "password"
	// SecretKey is random bytes in base64: TSIG keys and the like.
	SecretKey SecretKind = "key"
	// SecretSSH is an Ed25519 key in OpenSSH's format; its public half is a line of authorized_keys.
	SecretSSH SecretKind = "ssh"
	// SecretTLS is a private key with a self-signed certificate, in PEM, in this order; its public half is the
	// certificate.
	SecretTLS SecretKind = "tls"
)

// SecretSpec declares a secret of a role.
type SecretSpec struct {
	// Name is a DNS label.
	Name string `yaml:"name" json:"name"`
	// Kind; empty means password.
	Kind SecretKind `yaml:"kind,omitempty" json:"kind,omitempty"`
	// Scope is slot (each slot has its own; the default) or pool (all slots of a pool share it).
	Scope string `yaml:"scope,omitempty" json:"scope,omitempty"`
	// Length of a password in letters, of a key in bytes; zero means 24 and 32.
	Length int `yaml:"length,omitempty" json:"length,omitempty"`
	// Names are the DNS names of a certificate, as templates over FileData; empty means the slot's FQDN or,
	// for a pool, the pool's name and all of its members.
	Names []string `yaml:"names,omitempty" json:"names,omitempty"`
}

// Secret is one secret of a slot or pool.
type Secret struct {
	// Key is pool/web/tls or slot/web-01/ssh.
	Key  string     `json:"key"`
	Kind SecretKind `json:"kind"`
	// Value is never listed, logged or exported.
	Value []byte `json:"-"`
	// Public is the half that everybody may see; empty where there is none.
	Public string `json:"public,omitempty"`
	// Made is when; Given says that an operator set it.
	Made  time.Time `json:"made"`
	Given bool      `json:"given,omitempty"`
}

// Secrets lists what was made or set, without values, by key.
func (r *Registry) Secrets() ([]Secret, error) { return nil, errors.ErrUnsupported }

// SetSecret stores an operator's own value: a certificate with its key, a TSIG key. The error wraps
// fs.ErrNotExist where no role of that pool or slot declares it, and fs.ErrInvalid for a value that is not of
// its kind.
func (r *Registry) SetSecret(ctx context.Context, key string, value []byte) (Secret, error) {
	return Secret{}, errors.ErrUnsupported
}

// RotateSecret makes a new value.
func (r *Registry) RotateSecret(ctx context.Context, key string) (Secret, error) {
	return Secret{}, errors.ErrUnsupported
}
