package serve

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// TokenFile is the file in the data directory with the token that the API's TCP address wants. Only root
// may read it: other users of the boot server have no business with the rack.
const TokenFile = "api.token"

// apiToken reads the token, and makes it at the first start.
func apiToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("token of the API: %w", err)
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand
	token := hex.EncodeToString(raw[:])
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("token of the API: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("token of the API: %w", err)
	}
	return token, nil
}
