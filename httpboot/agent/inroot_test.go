package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever an image's symlinks say, nothing is written outside of it.
func TestInRootStaysInside(t *testing.T) {
	outer := t.TempDir()
	root := filepath.Join(outer, "image")
	write(t, root, map[string]string{
		"run/x": "", "var/run": "-> /run", "up": "-> ../..", "abs": "-> " + outer, "etc/resolv.conf": "-> /run/stub",
		"loop": "-> loop", "file": "content", "etc/hostname": "old",
	})
	r := inRoot{root}
	for name, at := range map[string]string{
		"/etc/new":         "etc/new",
		"/var/run/here":    "run/here",        // an absolute link, as every Debian has
		"/up/top":          "top",             // .. ends at the root
		"/etc/resolv.conf": "etc/resolv.conf", // replaced, not written through
		"/etc/hostname":    "etc/hostname",
		"/a/b/c/d":         "a/b/c/d",
		"/abs/x":           "", // leads to a directory that the image does not have
		"/loop/x":          "",
		"/file/x":          "",
	} {
		err := r.writeFile(name, 0o640, owner{}, []byte(name), nil)
		if at == "" {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		st, err := os.Lstat(filepath.Join(root, at))
		if err != nil || st.Mode() != 0o640 {
			t.Errorf("%s: %v, mode %v", name, err, st.Mode())
		}
		if b, _ := os.ReadFile(filepath.Join(root, at)); string(b) != name {
			t.Errorf("%s holds %q", name, b)
		}
	}
	if entries, _ := os.ReadDir(outer); len(entries) != 1 {
		t.Errorf("outside of the image there is %v", entries)
	}
	filepath.WalkDir(root, func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(path, ".muster-") {
			t.Errorf("%s was left over", path)
		}
		return nil
	})
	if err := r.stat("/var/run/here"); err != nil {
		t.Error(err)
	}
	if err := r.stat("/var/run/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of nothing: %v", err)
	}
}
