package serve

import (
	"os"
	"path/filepath"
	"testing"

	"muster/cmd/muster/config"
)

// TestLocalImagesArePrivate: also on a machine where no server has run yet, nobody but root reaches the set-uid
// programs of images; and other users reach what else will be in the data directory.
func TestLocalImagesArePrivate(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes the server's keys")
	}
	c := &config.Config{Data: filepath.Join(t.TempDir(), "data"), Library: "/nonexistent"}
	b, err := localBuilder(c, "")
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]os.FileMode{c.Data: 0o755, b.catalog.Dir: 0o700, filepath.Join(c.Data, "keys"): 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want the mode %v", dir, info, err, want)
		}
	}
	if len(b.catalog.Key) == 0 {
		t.Error("what is built here is not signed")
	}
}
