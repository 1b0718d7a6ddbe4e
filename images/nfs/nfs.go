// Package nfs exports images, volumes and state directories over NFS version 3 (RFC 1813) and 4 (RFC 7530).
//
// It serves nothing itself: Exports is implemented by Ganesha (nfs-ganesha as a supervised child, which
// needs no kernel modules), Kernel (the kernel's nfsd, driven by exportfs, beside what the machine exports)
// and External (somebody else exports; we only know where). Auto picks one and says why. The suite in package
// nfstest tests them alike.
//
// Clients mount with fixed ports and never ask a portmapper. The package deliberately offers no locking
// over the network (NLM): a node mounts with local locks, since what is shared by nodes is read-only or
// written by one.
package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Ports where none is given.
const (
	// Port is NFS's own (RFC 7530 §3.1).
	Port = 2049
	// MountPort is where many servers have mountd, which has no number of its own.
	MountPort = 20048
)

// Exports makes directories mountable. Set may be called before and while Serve runs, from any goroutine.
type Exports interface {
	// Set replaces what is exported. When it returns nil while Serve runs, the new exports are mountable
	// and the old ones are not. The error wraps fs.ErrInvalid for a bad Export and fs.ErrNotExist for a
	// directory that is missing; then nothing changed.
	Set(ctx context.Context, exports []Export) error
	// Serve keeps the exports up until ctx ends, and returns nil then. It returns an error at once when
	// it cannot start (a tool is missing, a port is taken).
	Serve(ctx context.Context) error
	// Ready waits until clients can mount, or ctx ends.
	Ready(ctx context.Context) error
	// Mount says how a client mounts path, a directory on this machine in or below an export. The error
	// wraps fs.ErrNotExist when no export covers it.
	Mount(path string) (Mount, error)
}

// Export is one directory with all below it.
type Export struct {
	// Path is absolute and clean, and is a directory.
	Path string
	// ReadOnly refuses every change.
	ReadOnly bool
	// Clients may mount it; none means nobody.
	Clients []netip.Prefix
	// NoRootSquash lets a client's root be root: needed for a root file system, whose files are not all
	// readable by others, and for state that services own.
	NoRootSquash bool
}

// Mount is how a client reaches a directory.
type Mount struct {
	// Server has the directory; zero means this machine, by whatever address the client knows it.
	Server netip.Addr
	// Path is what the client names to that server.
	Path string
	// Port is NFS's, MountPort mountd's. Never zero.
	Port, MountPort int
	// Options are mount options that this server needs of a version 3 client, comma separated; empty for
	// none. They are nfs(5)'s, and go with whatever the client wants of its own.
	Options string
}

// mountOptions gives the options that a version 3 client needs for a directory of e from a server that cannot
// store ACLs.
//
// What is written to gets noacl, which keeps the client from asking for them: nfs-ganesha as Debian builds it
// answers a change with an I/O error, on which systemd refuses to start a service that has a StateDirectory. It
// also saves a request for each file that is opened.
//
// What is read-only must not have it: roots are below an overlay, which checks a user's rights itself, asks for a
// file's ACL when that user does not own it, and takes noacl's "operation not supported" for an answer: nothing
// would run but as root.
func mountOptions(e Export) string {
	if e.ReadOnly {
		return ""
	}
	return "noacl"
}

// check reports every fault of an export list, other than missing directories.
func check(exports []Export) error {
	var errs []error
	fault := func(e Export, what string) {
		errs = append(errs, fmt.Errorf("nfs: export %q: %s: %w", e.Path, what, fs.ErrInvalid))
	}
	for i, e := range exports {
		switch {
		case !filepath.IsAbs(e.Path) || filepath.Clean(e.Path) != e.Path || e.Path == "/":
			fault(e, "want an absolute, clean path below /")
		case strings.ContainsFunc(e.Path, func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"'\\;{}#*?[]()$%", r) }):
			fault(e, "has a character that an export list cannot hold")
		case slices.ContainsFunc(exports[:i], func(o Export) bool { return o.Path == e.Path }):
			fault(e, "is listed twice")
		}
		for _, c := range e.Clients {
			if !c.IsValid() || c.Masked() != c {
				fault(e, fmt.Sprintf("client %s is not a network", c))
			}
		}
	}
	return errors.Join(errs...)
}

// checkHere is check for a server on this machine, which needs the directories.
func checkHere(exports []Export) error {
	if err := check(exports); err != nil {
		return err
	}
	for _, e := range exports {
		if info, err := os.Stat(e.Path); err != nil || !info.IsDir() {
			return fmt.Errorf("nfs: export %q: is not a directory: %w", e.Path, fs.ErrNotExist)
		}
	}
	return nil
}

// covering gives the export that path is in; the deepest one, if they are nested.
func covering(exports []Export, path string) (Export, error) {
	path = filepath.Clean(path)
	var best Export
	for _, e := range exports {
		if (path == e.Path || strings.HasPrefix(path, e.Path+"/")) && len(e.Path) > len(best.Path) {
			best = e
		}
	}
	if best.Path == "" {
		return best, fmt.Errorf("nfs: %s is not exported: %w", path, fs.ErrNotExist)
	}
	return best, nil
}

// ids gives each export a number from 1 to 65535 that depends on the paths only: it is part of every file
// handle, and handles must outlive a restart of the server and a reordering of the list.
func ids(exports []Export) map[string]uint16 {
	paths := make([]string, 0, len(exports))
	for _, e := range exports {
		paths = append(paths, e.Path)
	}
	slices.Sort(paths)
	out, taken := map[string]uint16{}, map[uint16]bool{}
	for _, p := range paths {
		id := hash16(p)
		for taken[id] {
			id = id%65535 + 1
		}
		out[p], taken[id] = id, true
	}
	return out
}

// hash32 is FNV-1a.
func hash32(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// hash16 is hash32 folded to 1–65535.
func hash16(s string) uint16 {
	h := hash32(s)
	return uint16((h>>16^h)%65535) + 1
}
