package api

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	stale(t, filepath.Join(dir, "stale"))
	for _, path := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "stale")} {
		c := Dial(path)
		_, err := c.Nodes(t.Context())
		// A missing socket is no missing node: the kinds must not be confused.
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNoAccessToTheSocket(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may use every socket; the mapping itself is what is tested.
		err := Dial("/s").failed(t.Context(), &os.PathError{Op: "connect", Err: fs.ErrPermission})
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v", err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(path).Nodes(t.Context()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestDialURL(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8081", "/run/s", "ftp://x", "http://"} {
		if _, err := DialURL(bad); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
