package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

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
		if err := fillFiles(&role, from, path.Join(e.Name(), "files")); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path.Join(where, file), err))
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

// fillFiles gives the role's files that have no content theirs, from dir: files/etc/motd is that of /etc/motd. A
// file there that the role does not name is a mistake.
func fillFiles(role *roles.Role, from fs.FS, dir string) error {
	named := map[string]bool{}
	role.Files = slices.Clone(role.Files)
	for i, f := range role.Files {
		named[path.Join(dir, f.Path)] = true
		if f.Content != "" {
			continue
		}
		b, err := fs.ReadFile(from, path.Join(dir, f.Path))
		if err != nil {
			return fmt.Errorf("files[%d]: %s has no content, and there is no %s", i, f.Path, path.Join(dir, f.Path))
		}
		role.Files[i].Content = string(b)
	}
	err := fs.WalkDir(from, dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !named[name] {
			err = fmt.Errorf("%s: the role has no file %s", name, strings.TrimPrefix(name, dir))
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
