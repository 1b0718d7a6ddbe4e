package tftpd

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// cleanPath turns the file name of a request into a name for fs.FS. Leading slashes mean the root of what
// is served; backslashes, which some firmware sends, are slashes; 0xff bytes at the end, which some UEFI
// firmware leaves there when the DHCP bootfile option was not terminated, are not part of the name.
// The error wraps fs.ErrPermission for a name that climbs above the root, and fs.ErrInvalid for one
// that fs.ValidPath refuses.
func cleanPath(name string) (string, error) {
	p := name
	for strings.HasSuffix(p, "\xff") {
		p = p[:len(p)-1]
	}
	p = strings.TrimLeft(strings.ReplaceAll(p, `\`, "/"), "/")
	if p == "" {
		return "", fmt.Errorf("empty file name: %w", fs.ErrInvalid)
	}
	p = path.Clean(p)
	if p == ".." || strings.HasPrefix(p, "../") {
		return "", fmt.Errorf("%q is outside of what is served: %w", name, fs.ErrPermission)
	}
	if !fs.ValidPath(p) {
		return "", fmt.Errorf("%q is no file name: %w", name, fs.ErrInvalid)
	}
	return p, nil
}
