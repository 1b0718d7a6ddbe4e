package images

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
)

// signContext keeps a signature over an image from being one over anything else.
const signContext = "muster image 1\n"

// signed is what the signature of a version is over: its name and number belong to it, or an old version could
// be passed off as a new one.
func signed(ref Ref, digest string) []byte {
	return []byte(signContext + ref.String() + "\n" + digest + "\n")
}

// signature is what the file SignatureFile holds: base64 (standard, padded) and a newline.
func signature(key ed25519.PrivateKey, message []byte) []byte {
	return append([]byte(base64.StdEncoding.EncodeToString(ed25519.Sign(key, message))), '\n')
}

// checkSignature says what is wrong with a version's signature; empty when it is this key's.
func checkSignature(key ed25519.PrivateKey, dir string, ref Ref, digest string) string {
	b, err := os.ReadFile(filepath.Join(dir, SignatureFile))
	if os.IsNotExist(err) {
		return "missing"
	}
	if err != nil {
		return err.Error()
	}
	if !verifySignature(key, signed(ref, digest), string(b)) {
		return "is not this server's signature over " + ref.String() + " with the digest " + digest
	}
	return ""
}

// verifySignature says whether line, as signature writes it, is key's over message.
func verifySignature(key ed25519.PrivateKey, message []byte, line string) bool {
	text, whole := strings.CutSuffix(line, "\n")
	sig, err := base64.StdEncoding.Strict().DecodeString(text)
	return whole && err == nil && len(sig) == ed25519.SignatureSize && ed25519.Verify(key.Public().(ed25519.PublicKey), message, sig)
}
