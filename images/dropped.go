package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dropped.go leaves out of an image what no node reads.

// dropped are directories of documentation and translations.
var dropped = []string{
	"usr/share/man", "usr/share/info", "usr/share/doc", "usr/share/locale", "usr/share/lintian", "usr/share/bug",
}

const (
	// licence is the name of files in usr/share/doc that stay: who gets the image must be able to read them.
	licence = "copyright"
	// filterFile makes dpkg leave the same out when a technician, or a hook, installs a package.
	filterFile = "etc/dpkg/dpkg.cfg.d/10-diskless"
)

// dpkgFilter is the filter's text: dpkg(1), --path-exclude.
func dpkgFilter() string {
	var b strings.Builder
	b.WriteString("# No node reads these.\n")
	for _, dir := range dropped {
		fmt.Fprintf(&b, "path-exclude=/%s/*\n", dir)
	}
	fmt.Fprintf(&b, "path-include=/usr/share/doc/*/%s\n", licence)
	return b.String()
}

// drop removes what was there before the filter was, with the directories that are empty then.
func drop(ctx context.Context, tree string) error {
	for _, dir := range dropped {
		dir = filepath.Join(tree, dir)
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		err := eachPath(ctx, dir, func(path string, st *unix.Stat_t) error {
			if path == dir || filepath.Base(path) == licence {
				return nil
			}
			err := os.Remove(path)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR && (errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist)) {
				return nil // there is a licence in it
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
