package roles

import (
	"cmp"
	"fmt"
	"strings"
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

// The scopes of secrets.
const (
	scopeSlot = "slot"
	scopePool = "pool"
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
	// for a pool, the pool's name and that of every slot that fits into its addresses, 500 at most. Those of a
	// pool see the data of its first slot. A certificate that is made keeps the names that it has until it is
	// rotated: who trusts it trusts no other one. A boot in a slot that it is not for says so in its timeline.
	Names []string `yaml:"names,omitempty" json:"names,omitempty"`
}

func (s SecretSpec) kind() SecretKind { return cmp.Or(s.Kind, SecretPassword) }
func (s SecretSpec) scope() string    { return cmp.Or(s.Scope, scopeSlot) }

// key is that of the secret of a slot.
func (s SecretSpec) key(pool, slot string) string {
	if s.scope() == scopePool {
		return scopePool + "/" + pool + "/" + s.Name
	}
	return scopeSlot + "/" + slot + "/" + s.Name
}

// fits reports whether a stored secret can serve as s. One of another kind was made for an older declaration.
func (s SecretSpec) fits(v Secret) bool { return v.Kind == s.kind() }

// Secret is one secret of a slot or pool. It is made when a node first needs it, and kept until it is rotated or
// its pool is deleted: a machine that replaces another has the same.
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

// String is what may be shown: fmt and log/slog get no value by accident.
func (s Secret) String() string { return fmt.Sprintf("%s (%s)", s.Key, s.Kind) }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// splitKey takes slot/web-01/ssh apart.
func splitKey(key string) (scope, owner, name string, ok bool) {
	scope, rest, _ := strings.Cut(key, "/")
	owner, name, ok = strings.Cut(rest, "/")
	return scope, owner, name, ok && (scope == scopeSlot || scope == scopePool)
}

// poolOf gives the pool that a secret belongs to, whether its slot still exists or not; "" for none.
func (s Secret) poolOf() string {
	scope, owner, _, ok := splitKey(s.Key)
	switch {
	case !ok:
		return ""
	case scope == scopePool:
		return owner
	}
	return owner[:max(0, strings.LastIndexByte(owner, '-'))]
}

// shown is s without its value.
func (s Secret) shown() Secret {
	s.Value = nil
	return s
}
