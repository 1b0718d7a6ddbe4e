package images

import (
	"context"
	"errors"
)

// Diff is what differs between two versions.
type Diff struct {
	// Packages by name; Files by path, relative to the root.
	Packages []PackageChange `json:"packages"`
	Files    []FileChange    `json:"files"`
}

// PackageChange is one Debian package; Old or New is empty where it is not installed.
type PackageChange struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// FileChange is one path. What is added, removed, or says what changed, for people: "mode 0755, was 0644".
type FileChange struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// Diff compares two versions by their manifests and their package databases; it reads no other file.
func (c *Catalog) Diff(ctx context.Context, a, b Ref) (Diff, error) {
	return Diff{}, errors.ErrUnsupported
}
