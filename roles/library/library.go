// Package library holds the built-in roles: for each a directory with role.yaml, whose fields are those of
// roles.Role, and overlay, a tree that is copied over the image's root. It deliberately reads nothing of
// them: that is for the packages that declare and build.
package library

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

// FS holds the directories, one for each role: web/role.yaml, web/overlay/etc/….
//
//go:embed all:web all:ntp all:mail all:dns all:storage
var FS embed.FS

// Overlay is the tree of the role name, for images.Options.Overlays. The error wraps fs.ErrNotExist when
// there is no such role; a role without an overlay directory has an empty tree.
func Overlay(name string) (fs.FS, error) {
	if _, err := fs.Stat(FS, path.Join(name, "role.yaml")); err != nil {
		return nil, fmt.Errorf("library: there is no role %q: %w", name, fs.ErrNotExist)
	}
	sub, err := fs.Sub(FS, path.Join(name, "overlay"))
	if err != nil {
		return nil, fmt.Errorf("library: %w", err)
	}
	if _, err := fs.Stat(sub, "."); err != nil {
		return embed.FS{}, nil
	}
	return sub, nil
}
