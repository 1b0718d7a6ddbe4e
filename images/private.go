package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// private.go keeps keys out of images: what all nodes of a role share, and everybody who can read an export,
// is no secret.

// keyInImage is what the log says of a key that somebody put into an image on purpose, or so it seems.
const keyInImage = "W: muster: %s looks like a private key, and everybody who can reach the export can read it: give it to the nodes as a secret.\n"

// keyDirs are where configuration and state are, and so keys that belong to somebody.
var keyDirs = []string{"etc", "home", "opt", "root", "srv", "usr/local", "var"}

// keyMax is the size in bytes of a file that can be a key; the largest RSA keys have 13 KB.
const keyMax = 64 << 10

// keyRE matches what private keys begin with, of OpenSSL, OpenSSH, OpenPGP and PuTTY, and the secrets of TSIG and
// rndc.
var keyRE = regexp.MustCompile(`(?m)^-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|^PuTTY-User-Key-File-|^\s*secret:?\s+"?[A-Za-z0-9+/]{16,}={0,2}"?;?\s*$`)

// privateKeys finds files that look like private keys, relative to tree.
func privateKeys(ctx context.Context, tree string) ([]string, error) {
	var found []string
	for _, dir := range keyDirs {
		dir = filepath.Join(tree, dir)
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		err := eachPath(ctx, dir, func(path string, st *unix.Stat_t) error {
			if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 || st.Size > keyMax {
				return nil
			}
			is, err := holdsKey(path)
			if is {
				found = append(found, strings.TrimPrefix(path, tree))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func holdsKey(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	// Most files are decided by two searches, which cost a tenth of the expression.
	return (bytes.Contains(b, []byte("secret")) || bytes.Contains(b, []byte("PRIVATE KEY")) || bytes.HasPrefix(b, []byte("PuTTY"))) && keyRE.Match(b), nil
}

// forgetKeys removes the keys that packages' scripts made while they were installed (of unbound, dovecot, the
// snake oil of ssl-cert…): those that look like private keys and that no package brought. It is not for an
// imported root: its keys are somebody's intention, and the log names them.
func (w *build) forgetKeys(ctx context.Context, tree string) error {
	keys, err := privateKeys(ctx, tree)
	if err != nil || len(keys) == 0 {
		return err
	}
	owned, err := packaged(tree)
	if err != nil {
		return err
	}
	for _, name := range keys {
		if owned[name] {
			continue
		}
		if err := os.Remove(filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("images: %w", err)
		}
		fmt.Fprintf(w.log, "I: muster: removed %s: a package made it for this build, and each node must have its own\n", name)
	}
	return nil
}

// packaged gives the paths that packages brought.
func packaged(tree string) (map[string]bool, error) {
	lists, err := filepath.Glob(filepath.Join(tree, "var/lib/dpkg/info/*.list"))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	owned := map[string]bool{}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			owned[strings.TrimSuffix(line, "\n")] = true
		}
	}
	return owned, nil
}

// widowed removes links in dir, a directory of the tree, whose target is gone: those of a removed certificate.
func widowed(tree, dir string) error {
	links, err := matches(tree, filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for range 2 { // a link to a link
		for _, link := range links {
			target, err := os.Readlink(link)
			if err != nil {
				continue // no link; or gone already
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join("/", dir, target)
			}
			if _, err := os.Lstat(filepath.Join(tree, target)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.Remove(link); err != nil {
				return fmt.Errorf("images: %w", err)
			}
		}
	}
	return nil
}

// emptyLogs removes what packages' scripts wrote to logs, and keeps the empty files that some services want.
func emptyLogs(ctx context.Context, tree string) error {
	dirs, err := matches(tree, "var/log")
	if err != nil || len(dirs) == 0 {
		return err
	}
	if info, err := os.Lstat(dirs[0]); err == nil && !info.IsDir() {
		return nil
	}
	return eachPath(ctx, dirs[0], func(path string, st *unix.Stat_t) error {
		if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
			return nil
		}
		return os.Remove(path)
	})
}
