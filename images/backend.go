package images

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Backend is where nodes mount published images, volumes and state directories from: this boot server, or a
// storage pair. The suite in package backendtest tests all alike. Methods may be called at the same time.
type Backend interface {
	// Offer says in a sentence why a node cannot mount yet what it needs, "" when it can. It begins what is to be
	// done for that; the caller asks again.
	//
	// A version is offered only when it is whole and what was published, and a directory only to its slot. A
	// directory that is missing is made with the owner and mode that n says; one that is there stays as it is.
	Offer(ctx context.Context, n Need) (why string, err error)
	// Root says how a node mounts the tree of a version, read-only.
	Root(ref Ref) (Mount, error)
	// Directory says how a node mounts one of Need's directories.
	Directory(path string) (Mount, error)
}

// Need is what one node mounts.
type Need struct {
	// Root is the version whose tree it mounts; nil for one that holds its root in RAM.
	Root *Image
	// Slot is what the node is, web-03, and Address the slot's, from which it mounts.
	Slot    string
	Address netip.Addr
	// Dirs are its volumes and the slot's state directories.
	Dirs []Dir
}

// Dir is a persistent directory.
type Dir struct {
	// Path is VolumePath or StatePath.
	Path string
	// UID, GID and Mode (the permission bits with setuid, setgid and sticky as chmod(2) has them) are those of a
	// new one.
	UID, GID int
	Mode     uint32
}

// Mount is how a node reaches a directory.
type Mount struct {
	// Server has the directory; zero means this boot server, by whatever address the node knows it.
	Server netip.Addr
	// Path is what the node names to that server.
	Path string
	// Version of NFS; empty means 3.
	Version string
	// Port is NFS's, MountPort that of version 3's mountd; zero means the usual one.
	Port, MountPort int
	// Options are nfs(5)'s, comma separated.
	Options string
}

// VolumePath is the path of a volume, below the directory or the export that has them all.
func VolumePath(name string) string { return "volumes/" + name }

// StatePath is the path of a slot's state directory that is mounted on target: state/web-03/var-log-nginx for
// /var/log/nginx. No two targets share one.
func StatePath(slot, target string) string {
	return "state/" + slot + "/" + strings.NewReplacer("_", "__", "-", "_-", "/", "-").Replace(strings.Trim(target, "/"))
}

// DirLike is a directory with the owner and mode that target has in tree; one that tree does not have is root's,
// and everybody may enter it. A symlink that leads out of tree is none of its.
func DirLike(path, tree, target string) Dir {
	d := Dir{Path: path, Mode: 0o755}
	root, err := os.OpenRoot(tree)
	if err != nil {
		return d
	}
	defer root.Close()
	fi, err := root.Lstat(strings.Trim(target, "/"))
	if err != nil || !fi.IsDir() {
		return d
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		d.UID, d.GID, d.Mode = int(st.Uid), int(st.Gid), st.Mode&0o7777
	}
	return d
}
