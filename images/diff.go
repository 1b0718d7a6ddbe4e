package images

import (
	"context"
	"errors"
	"fmt"
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

// changes says, for people, how a path differs from what it was. Of directories, what is in them counts for
// itself.
func changes(was, is *entry) []string {
	if was.kind != is.kind {
		return []string{fmt.Sprintf("%s, was %s", kindName(is.kind), kindName(was.kind))}
	}
	var all []string
	note := func(differ bool, format string, args ...any) {
		if differ {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	note(was.mode != is.mode, "mode %04o, was %04o", is.mode, was.mode)
	note(was.uid != is.uid || was.gid != is.gid, "owner %d:%d, was %d:%d", is.uid, is.gid, was.uid, was.gid)
	note(was.target != is.target, "link to %q, was %q", is.target, was.target)
	note(was.major != is.major || was.minor != is.minor, "device %d:%d, was %d:%d", is.major, is.minor, was.major, was.minor)
	note(was.size != is.size, "%d bytes, were %d", is.size, was.size)
	note(is.kind == 'f' && was.sum != is.sum && was.size == is.size, "content")
	return append(all, xattrChanges(was.xattrs, is.xattrs)...)
}

// xattrChanges compares extended attributes, which are by name.
func xattrChanges(was, is []xattr) []string {
	var all []string
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].name < is[0].name:
			all = append(all, fmt.Sprintf("without %s", was[0].name))
			was = was[1:]
		case len(was) == 0 || is[0].name < was[0].name:
			all = append(all, fmt.Sprintf("with %s", is[0].name))
			is = is[1:]
		default:
			if was[0].value != is[0].value {
				all = append(all, fmt.Sprintf("another %s", is[0].name))
			}
			was, is = was[1:], is[1:]
		}
	}
	return all
}

func kindName(kind byte) string {
	switch kind {
	case 'f':
		return "a file"
	case 'd':
		return "a directory"
	case 'l':
		return "a symbolic link"
	case 'c':
		return "a character device"
	case 'b':
		return "a block device"
	case 'p':
		return "a FIFO"
	}
	return "a socket"
}
