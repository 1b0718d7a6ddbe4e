package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"muster/images"
	"muster/images/nfs"
)

// embedded offers what lies in this server's data directory, over its own exports. It implements images.Backend.
//
// What is published is whole, so a version is offered as soon as there is one. Every pool's nodes may mount every
// state directory: which is whose is a matter of what they are told.
type embedded struct {
	exports nfs.Exports
	data    string
	// address is what nodes mount from; zero means what the exports say.
	address netip.Addr
	// external says that another server has the directories: it makes them.
	external bool
	// making is held while a directory is made: an agent may ask twice.
	making *sync.Mutex
}

// Offer implements images.Backend.
func (e embedded) Offer(_ context.Context, n images.Need) (string, error) {
	if e.external {
		return "", nil
	}
	if n.Root != nil {
		if _, err := os.Stat(e.tree(n.Root.Ref)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("%s is not published", n.Root.Ref), nil
		} else if err != nil {
			return "", fmt.Errorf("root of %s: %w", n.Slot, err)
		}
	}
	e.making.Lock()
	defer e.making.Unlock()
	for _, d := range n.Dirs {
		if err := makeDir(e.path(d.Path), d); err != nil {
			return "", err
		}
	}
	return "", nil
}

// rootOptions are those of a root. The tree never changes: what was looked up once stays true.
const rootOptions = "actimeo=3600,nocto"

// Root implements images.Backend.
func (e embedded) Root(ref images.Ref) (images.Mount, error) {
	m, err := e.mount(e.tree(ref))
	m.Options = strings.Trim(m.Options+","+rootOptions, ",")
	return m, err
}

// Directory implements images.Backend.
func (e embedded) Directory(path string) (images.Mount, error) { return e.mount(e.path(path)) }

func (e embedded) path(p string) string { return filepath.Join(e.data, filepath.FromSlash(p)) }

func (e embedded) tree(ref images.Ref) string {
	return filepath.Join(e.data, "images", ref.Name, fmt.Sprint(ref.Version), images.TreeDir)
}

func (e embedded) mount(dir string) (images.Mount, error) {
	m, err := e.exports.Mount(dir)
	if err != nil {
		return images.Mount{}, err
	}
	if !m.Server.IsValid() {
		m.Server = e.address
	}
	return images.Mount{Server: m.Server, Path: m.Path, Port: m.Port, MountPort: m.MountPort, Options: m.Options}, nil
}

// makeDir makes dir, unless it is there, as d says. It gets its name last: one that a full disk or a crash left
// with the wrong owner would never be put right.
func makeDir(dir string, d images.Dir) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	fresh, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	defer os.Remove(fresh) // what failed
	if err := errors.Join(os.Chown(fresh, d.UID, d.GID), os.Chmod(fresh, fileMode(d.Mode))); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}

// fileMode gives a mode of chmod(2) as Go has it.
func fileMode(mode uint32) os.FileMode {
	m := os.FileMode(mode & 0o777)
	for bit, is := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if mode&bit != 0 {
			m |= is
		}
	}
	return m
}
