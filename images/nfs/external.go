package nfs

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
)

// External exports nothing: another server (a filer, the storage pair) does, and an operator keeps its
// exports in step. It only knows where directories are to be mounted from.
type External struct {
	// Server is that server's address; zero means this machine.
	Server netip.Addr
	// Port is NFS's; zero means 2049. MountPort is mountd's; zero means 20048.
	Port, MountPort int
	// Prefixes map a directory here to its path there; what is below goes with it. A directory that none
	// covers has the same path there.
	Prefixes map[string]string

	mu      sync.Mutex
	exports []Export // guarded by mu
}

// Set implements Exports: it only notes what must be mountable.
func (x *External) Set(_ context.Context, exports []Export) error {
	if err := check(exports); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.exports = append([]Export(nil), exports...)
	return nil
}

// Serve implements Exports: it waits for ctx to end.
func (x *External) Serve(ctx context.Context) error {
	for here, there := range x.Prefixes {
		if !filepath.IsAbs(here) || !filepath.IsAbs(there) {
			return fmt.Errorf("nfs: external: %q → %q: want absolute paths: %w", here, there, fs.ErrInvalid)
		}
	}
	<-ctx.Done()
	return nil
}

// Ready implements Exports. Only a server on this machine can be asked without knowing a way there.
func (x *External) Ready(ctx context.Context) error {
	if x.Server.IsValid() && !x.Server.IsLoopback() {
		return nil
	}
	return untilAnswers(ctx, cmp.Or(x.Port, Port), cmp.Or(x.MountPort, MountPort))
}

// Mount implements Exports.
func (x *External) Mount(path string) (Mount, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	export, err := covering(x.exports, path)
	if err != nil {
		return Mount{}, err
	}
	path = filepath.Clean(path)
	best, there := "", path
	for here, prefix := range x.Prefixes {
		here = filepath.Clean(here)
		if (path == here || strings.HasPrefix(path, here+"/")) && len(here) > len(best) {
			best, there = here, filepath.Join(prefix, strings.TrimPrefix(path, here))
		}
	}
	// What the other server can do is not known: ask for the least.
	return Mount{x.Server, there, cmp.Or(x.Port, Port), cmp.Or(x.MountPort, MountPort), mountOptions(export)}, nil
}
