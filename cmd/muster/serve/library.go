package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"muster/roles"
	"muster/roles/declare"
	builtin "muster/roles/library"
)

// library is the built-in roles and the operator's own.
type library struct {
	roles    map[string]roles.Role
	overlays map[string]fs.FS
}

// loadLibrary reads the built-in roles and those in dir, which need not exist. A role of the operator's
// replaces a built-in one of the same name, overlay and all.
func loadLibrary(dir string) (library, error) {
	l := library{map[string]roles.Role{}, map[string]fs.FS{}}
	if err := l.read(builtin.FS, "library"); err != nil {
		return l, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	return l, l.read(os.DirFS(dir), dir)
}

func (l library) read(from fs.FS, where string) error {
	entries, err := fs.ReadDir(from, ".")
	if err != nil {
		return fmt.Errorf("roles: %w", err)
	}
	var errs []error
	for _, e := range entries {
		file := path.Join(e.Name(), "role.yaml")
		b, err := fs.ReadFile(from, file)
		if errors.Is(err, fs.ErrNotExist) || !e.IsDir() {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		role, err := declare.ParseRole(b, path.Join(where, file))
		if err == nil && role.Name != e.Name() {
			err = fmt.Errorf("%s: the role is called %q, its directory %q", path.Join(where, file), role.Name, e.Name())
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.roles[role.Name] = role
		delete(l.overlays, role.Name)
		if sub, err := fs.Sub(from, path.Join(e.Name(), "overlay")); err == nil {
			if _, err := fs.Stat(sub, "."); err == nil {
				l.overlays[role.Name] = sub
			}
		}
	}
	return errors.Join(errs...)
}
