package library

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"muster/roles/declare"
)

// scratch is removed when all tests have run.
var scratch string

func TestMain(m *testing.M) {
	code := 1
	var err error
	if scratch, err = os.MkdirTemp("", "muster-library-"); err == nil {
		code = m.Run()
		_ = os.RemoveAll(scratch)
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// php is what the role web names as an option.
const php = "php-fpm"

// packages are those of all roles: one root serves all tests, each with its role's overlay over it.
func packages() (string, error) {
	all := []string{"systemd", "iproute2", php}
	entries, err := fs.ReadDir(FS, ".")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		b, err := fs.ReadFile(FS, e.Name()+"/role.yaml")
		if err != nil {
			return "", err
		}
		r, err := declare.ParseRole(b, e.Name())
		if err != nil {
			return "", err
		}
		all = append(all, r.Recipe.Packages...)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ","), nil
}

// root makes a Debian root with every package of the roles, the first time. MUSTER_LIBRARY_ROOT names one that is
// kept, for people who run these tests many times.
var root = sync.OnceValues(func() (string, error) {
	want, err := packages()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, "root")
	if kept := os.Getenv("MUSTER_LIBRARY_ROOT"); kept != "" {
		dir = kept
		if have, err := os.ReadFile(dir + ".packages"); err == nil && string(have) == want {
			return dir, nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("mmdebstrap", "--variant=minbase", "--include="+want, "bookworm", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w\n%s", err, out)
	}
	return dir, os.WriteFile(dir+".packages", []byte(want), 0o644)
})

// needRoot gives the root, or skips the test where it cannot be made.
func needRoot(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it runs services in namespaces")
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Skip("needs mmdebstrap")
	}
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
