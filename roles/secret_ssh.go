package roles

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// The format of OpenSSH's private keys is that of its file PROTOCOL.key; that of public keys is RFC 8709 §4.
const (
	sshMagic   = "openssh-key-v1\x00"
	sshPEM     = "OPENSSH PRIVATE KEY"
	sshEd25519 = "ssh-ed25519"
)

// newSSHKey makes an Ed25519 key, and its line of authorized_keys.
func newSSHKey(comment string) (private []byte, public string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("roles: %w", err)
	}
	return encodeSSHKey(key, comment), sshLine(key.Public().(ed25519.PublicKey), comment), nil
}

func encodeSSHKey(key ed25519.PrivateKey, comment string) []byte {
	const block = 8 // of the cipher "none"
	public := key.Public().(ed25519.PublicKey)
	check := random(4)
	secret := bytes.Join([][]byte{check, check, sshString(sshEd25519), sshString(string(public)), sshString(string(key)), sshString(comment)}, nil)
	for pad := byte(1); len(secret)%block != 0; pad++ {
		secret = append(secret, pad)
	}
	all := bytes.Join([][]byte{[]byte(sshMagic), sshString("none"), sshString("none"), sshString(""), {0, 0, 0, 1},
		sshString(string(sshBlob(public))), sshString(string(secret))}, nil)
	return pem.EncodeToMemory(&pem.Block{Type: sshPEM, Bytes: all})
}

// sshString is a string as SSH writes it (RFC 4251 §5).
func sshString(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func sshBlob(key ed25519.PublicKey) []byte {
	return append(sshString(sshEd25519), sshString(string(key))...)
}

func sshLine(key ed25519.PublicKey, comment string) string {
	return strings.TrimSpace(sshEd25519 + " " + base64.StdEncoding.EncodeToString(sshBlob(key)) + " " + comment)
}

var errNoSSHKey = errors.New("want an Ed25519 key without a passphrase in OpenSSH's format: ssh-keygen -t ed25519 -N ''")

// readSSHKey gives an operator's key as we write it.
func readSSHKey(value []byte) (private []byte, public string, err error) {
	b, rest := pem.Decode(value)
	if b == nil || b.Type != sshPEM || len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", errNoSSHKey
	}
	body, ok := bytes.CutPrefix(b.Bytes, []byte(sshMagic))
	r := sshReader{body, !ok}
	cipher, kdf, _, count := r.text(), r.text(), r.text(), r.number()
	_, secret := r.text(), r.text()
	if r.bad || cipher != "none" || kdf != "none" || count != 1 {
		return nil, "", errNoSSHKey
	}
	s := sshReader{[]byte(secret), false}
	one, two, kind, point, key, comment := s.number(), s.number(), s.text(), s.text(), s.text(), s.text()
	if s.bad || one != two || kind != sshEd25519 || len(key) != ed25519.PrivateKeySize {
		return nil, "", errNoSSHKey
	}
	made := ed25519.NewKeyFromSeed([]byte(key)[:ed25519.SeedSize])
	if string(made) != key || string(made.Public().(ed25519.PublicKey)) != point {
		return nil, "", errors.New("the key's halves do not belong together")
	}
	if strings.ContainsFunc(comment, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		comment = ""
	}
	return encodeSSHKey(made, comment), sshLine(made.Public().(ed25519.PublicKey), comment), nil
}

// sshReader takes values off a text; bad says that it ended too early.
type sshReader struct {
	rest []byte
	bad  bool
}

func (r *sshReader) number() uint32 {
	if r.bad || len(r.rest) < 4 {
		r.bad = true
		return 0
	}
	n := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return n
}

func (r *sshReader) text() string {
	n := r.number()
	if r.bad || uint64(n) > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
