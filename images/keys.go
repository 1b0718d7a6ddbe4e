package images

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// keys.go gives each package source of a build the keys that sign it.

const (
	// debianKeys are the keys of Debian's own archives, on a host with Debian's tools and in every image.
	debianKeys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// keyrings is where an image has the keys of a recipe.
	keyrings = "etc/apt/keyrings"
)

// checkLine says what is wrong with a line of sources.list(5), in its one-line style; empty when nothing is.
func checkLine(line string) string {
	all := parseList(line)
	switch {
	case strings.ContainsAny(line, "\n\r"):
		return "it is more than one line: make it as many entries"
	case !strings.HasPrefix(line, "deb "):
		return `it must begin with "deb "`
	case strings.HasPrefix(line, "deb [") && !strings.Contains(line, "]"):
		return "its options have no closing bracket"
	case len(all) != 1:
		return "it wants an address, a suite and its components"
	case !strings.Contains(all[0].uri, ":/"):
		return fmt.Sprintf("its address %q is no URL", all[0].uri)
	case strings.HasSuffix(all[0].suite, "/") && len(all[0].components) > 0:
		return "a suite that ends in a slash has no components"
	case !strings.HasSuffix(all[0].suite, "/") && len(all[0].components) == 0:
		return "its components are missing (main), or the slash behind a directory"
	}
	return ""
}

// checkKey says what is wrong with a file of OpenPGP keys; empty when nothing is.
func checkKey(file string) string {
	b, err := os.ReadFile(file)
	switch {
	case !filepath.IsAbs(file):
		return "it must be an absolute path"
	case err != nil:
		return strings.TrimPrefix(err.Error(), "open "+file+": ")
	case bytes.Contains(b, []byte("PRIVATE KEY BLOCK")):
		return "it holds a private key: export the public one"
	case keySuffix(b) == "":
		return "it holds no OpenPGP public key"
	}
	return ""
}

// keySuffix is the suffix by which apt tells armored keys from plain ones; empty for what is no public key.
func keySuffix(b []byte) string {
	if bytes.Contains(b, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		return ".asc"
	}
	// The packet tag of a public key, RFC 4880 section 4.2: 6, in the old format or the new one.
	if len(b) > 16 && (b[0]&0xfc == 0x98 || b[0] == 0xc6) {
		return ".gpg"
	}
	return ""
}

// feed is what apt reads packages from in a build.
type feed struct {
	lines []string // of sources.list, as the build needs them
	keys  string   // directory with the recipe's keys during the build
	// unused says that the root has sources of its own, and got nothing of these: that of an import.
	unused bool
}

// newFeed collects the sources of a build: Debian's, and those of the recipe with its keys, which are copied
// to dir where apt's own user can read them.
func newFeed(etc fs.FS, r Recipe, dir string) (feed, error) {
	f := feed{keys: filepath.Join(dir, "keys")}
	var keys []string
	for i, file := range r.Keys {
		b, err := os.ReadFile(file)
		if err != nil {
			return f, fmt.Errorf("key: %w", err)
		}
		if err := os.MkdirAll(f.keys, 0o755); err != nil {
			return f, err
		}
		to := filepath.Join(f.keys, fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path.Base(file), path.Ext(file)), i+1, keySuffix(b)))
		if err := os.WriteFile(to, b, 0o644); err != nil {
			return f, err
		}
		keys = append(keys, to)
	}
	var debian []string
	if _, err := os.Stat(debianKeys); err == nil && (r.Mirror == "" || len(keys) > 0 || !hasTrusted(etc)) {
		debian = []string{debianKeys}
	}
	if r.Mirror != "" {
		debian = append(debian, keys...)
	}
	for _, line := range aptSources(etc, r.Suite, r.Mirror) {
		f.lines = append(f.lines, reachable(withKeys(line, debian)))
	}
	for _, line := range r.Sources {
		trusted := keys
		if inDebian(line) && len(debian) > 0 {
			trusted = append([]string{debian[0]}, keys...) // another component, or backports
		}
		f.lines = append(f.lines, reachable(withKeys(line, trusted)))
	}
	return f, nil
}

// inDebian reports whether a line of sources.list is of Debian's own archive, by its layout.
func inDebian(line string) bool {
	for _, s := range parseList(line) {
		if (source{uri: s.uri, suite: "any", components: []string{"main"}}).isDebian("any") {
			return true
		}
	}
	return false
}

// hasTrusted reports whether the host trusts keys for every source: those of a mirror that signs with its
// own are there. (Without any, apt would refuse even Debian's.)
func hasTrusted(etc fs.FS) bool {
	for _, pattern := range []string{"apt/trusted.gpg", "apt/trusted.gpg.d/*.gpg", "apt/trusted.gpg.d/*.asc"} {
		if found, _ := fs.Glob(etc, pattern); len(found) > 0 {
			return true
		}
	}
	return false
}

// withKeys adds the keys to a line that names none.
func withKeys(line string, keys []string) string {
	if len(keys) == 0 {
		return line
	}
	return withOption(line, "signed-by", strings.Join(keys, ","))
}

// withOption sets an option of a source line, unless the line does.
func withOption(line, name, value string) string {
	rest := strings.TrimSpace(strings.TrimPrefix(line, "deb "))
	options, after, has := strings.Cut(rest, "]")
	if !has || !strings.HasPrefix(rest, "[") {
		return "deb [" + name + "=" + value + "] " + rest
	}
	if strings.Contains(options, name+"=") {
		return line
	}
	return "deb [" + strings.TrimSpace(options[1:]) + " " + name + "=" + value + "] " + strings.TrimSpace(after)
}

// reachable makes a line work from outside the root. A directory of packages is copied from, because dpkg in
// the root cannot see it, and the lists of a snapshot are as old as they are.
func reachable(line string) string {
	for _, s := range parseList(line) {
		if snapshotRE.MatchString(s.uri) {
			line = withOption(line, "check-valid-until", "no")
		}
		if dir, is := strings.CutPrefix(s.uri, "file:"); is {
			line = strings.Replace(line, " "+s.uri+" ", " copy:"+dir+" ", 1)
		}
	}
	return line
}

// loginRE matches who logs in, and with what, in a URL.
var loginRE = regexp.MustCompile(`(://)[^/\s"'@]+@`)

// withoutLogins removes names and passwords from the URLs in s: this machine's for its mirrors and proxies.
func withoutLogins(s string) string { return loginRE.ReplaceAllString(s, "$1") }

// leave writes the sources and keys into the root as a technician on a node wants them: without what is on
// the boot server only, and without its passwords.
func (f feed) leave(root *os.Root) error {
	if f.unused {
		return os.RemoveAll(f.keys)
	}
	var list strings.Builder
	for _, line := range f.lines {
		if all := parseList(line); len(all) == 1 && !strings.HasPrefix(all[0].uri, "copy:") {
			list.WriteString(withoutLogins(strings.ReplaceAll(line, f.keys+"/", "/"+keyrings+"/")) + "\n")
		}
	}
	const name = "etc/apt/sources.list"
	if err := replace(root, name, func() error { return root.WriteFile(name, []byte(list.String()), 0o644) }); err != nil {
		return err
	}
	keys, err := os.ReadDir(f.keys)
	if err != nil {
		return nil // the recipe has none
	}
	for _, k := range keys {
		b, err := os.ReadFile(filepath.Join(f.keys, k.Name()))
		if err != nil {
			return fmt.Errorf("images: %w", err)
		}
		name := path.Join(keyrings, k.Name())
		if err := replace(root, name, func() error { return root.WriteFile(name, b, 0o644) }); err != nil {
			return err
		}
	}
	return os.RemoveAll(f.keys)
}
