package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDrop(t *testing.T) {
	tree := rooted(t, map[string]string{
		"usr/share/doc/nginx/copyright": "", "usr/share/doc/nginx/changelog.gz": "", "usr/share/doc/nginx/examples/a/b": "",
		"usr/share/man/man1/ls.1.gz": "", "usr/share/locale/de/LC_MESSAGES/ls.mo": "", "usr/share/nginx/copyright": "", "usr/share/misc/x": "",
	})
	must(t, os.Symlink("nginx", filepath.Join(tree, "usr/share/doc/nginx-light")))
	must(t, drop(t.Context(), tree))
	for name, stays := range map[string]bool{
		"usr/share/doc/nginx/copyright": true, "usr/share/doc/nginx/changelog.gz": false, "usr/share/doc/nginx/examples": false,
		"usr/share/man": true, "usr/share/man/man1": false, "usr/share/locale/de": false, "usr/share/misc/x": true,
	} {
		if _, err := os.Lstat(filepath.Join(tree, name)); errors.Is(err, fs.ErrNotExist) == stays {
			t.Errorf("%s: %v; want it to stay: %t", name, err, stays)
		}
	}
	for _, want := range []string{"path-exclude=/usr/share/man/*\n", "path-include=/usr/share/doc/*/copyright\n"} {
		if !strings.Contains(dpkgFilter(), want) {
			t.Errorf("dpkg's filter lacks %q", want)
		}
	}
}
