package roles

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// secretMax bounds a value that an operator sets: a key with a long chain of certificates.
const secretMax = 256 << 10

// read checks that value is a secret of s's kind, and gives it in its usual form. Names are those that a
// certificate should have.
func (s SecretSpec) read(value []byte, names []string, now time.Time) (private []byte, public string, warnings []string, err error) {
	if len(value) > secretMax {
		return nil, "", nil, fmt.Errorf("a value has at most %d KiB", secretMax>>10)
	}
	switch s.kind() {
	case SecretKey:
		private, err = readKey(value)
	case SecretSSH:
		private, public, err = readSSHKey(value)
	case SecretTLS:
		return readCertificate(value, names, now)
	default:
		private, err = readPassword(value)
	}
	return private, public, nil, err
}

// readPassword takes one line: what ends it is the editor's, not the password's.
func readPassword(value []byte) ([]byte, error) {
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	const longest = 1024
	switch {
	case len(value) == 0:
		return nil, errors.New("a password cannot be empty")
	case len(value) > longest:
		return nil, fmt.Errorf("a password has at most %d bytes", longest)
	case !utf8.Valid(value) || strings.ContainsFunc(string(value), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, errors.New("a password is one line of text")
	}
	return bytes.Clone(value), nil
}

// readKey takes bytes in base64, with or without line breaks and padding.
func readKey(value []byte) ([]byte, error) {
	text := strings.TrimRight(strings.Join(strings.Fields(string(value)), ""), "=")
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, errors.New("a key is bytes in base64")
	}
	return []byte(base64.StdEncoding.EncodeToString(b)), nil
}
