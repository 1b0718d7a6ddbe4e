package serve

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
	"syscall"
	"time"

	"muster/httpboot/agent"
	"muster/images"
	"muster/images/nfs"
	"muster/roles"
)

// pickExports makes the NFS server that the configuration names, and says why it is that one.
func (s *server) pickExports() (nfs.Exports, string, error) {
	c := s.Config.Images.NFS
	o := nfs.Options{Dir: s.path("run", "nfs"), Port: int(c.Port), MountPort: int(c.MountPort),
		Logger: s.log.With("service", "nfs"), Metrics: nfs.NewMetrics(s.metrics)}
	switch c.Server {
	case "ganesha":
		return &nfs.Ganesha{Dir: o.Dir, Port: o.Port, MountPort: o.MountPort, Logger: o.Logger, Metrics: o.Metrics}, "ganesha: configured", nil
	case "kernel":
		return &nfs.Kernel{Port: o.Port, MountPort: o.MountPort, Leave: true, Logger: o.Logger, Metrics: o.Metrics}, "kernel: configured", nil
	case "external":
		x := &nfs.External{Server: c.Address, Port: o.Port, MountPort: o.MountPort}
		if c.Path != "" {
			x.Prefixes = map[string]string{s.Config.Data: c.Path}
		}
		return x, "external: " + c.Address.String(), nil
	}
	return nfs.Auto(o)
}

// exportsRetry is the pause after exports could not be changed: a full disk, or an NFS server that is just
// coming back.
const exportsRetry = 5 * time.Second

// keepExports follows the pools: their addresses are who may write. done is what is exported at the start.
// It ends with ctx.
func (s *server) keepExports(ctx context.Context, done []nfs.Export) error {
	for {
		rev := s.registry.Revision()
		var again <-chan time.Time // nil: the next change of the rack is soon enough
		if want := s.wantedExports(); !slices.EqualFunc(want, done, sameExport) {
			switch err := s.exports.Set(ctx, want); {
			case err == nil:
				done = want
			case ctx.Err() == nil:
				s.log.Error("exports not changed, trying again", "again", exportsRetry, "err", err)
				again = time.After(exportsRetry)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-s.registry.Watch(rev):
		}
	}
}

func sameExport(a, b nfs.Export) bool {
	return a.Path == b.Path && a.ReadOnly == b.ReadOnly && a.NoRootSquash == b.NoRootSquash && slices.Equal(a.Clients, b.Clients)
}

// wantedExports: images for every machine that boots here, volumes and state for the pools' addresses.
func (s *server) wantedExports() []nfs.Export {
	var all, members []netip.Prefix
	for _, n := range s.networks {
		all = append(all, n.Prefix)
	}
	if pools, err := s.registry.Pools(); err == nil {
		for _, p := range pools {
			members = append(members, p.Addresses.Prefixes()...)
		}
	}
	return []nfs.Export{
		// A root file system has files that only root may read.
		{Path: s.path("images"), ReadOnly: true, Clients: all, NoRootSquash: true},
		{Path: s.path("volumes"), Clients: members, NoRootSquash: true},
		{Path: s.path("state"), Clients: members, NoRootSquash: true},
	}
}

// mounts puts the root, the volumes and the state directories into a spec.
func (s *server) mounts(spec *agent.Spec, o roles.Orders, net network) error {
	tree := filepath.Join(o.Image.Dir, images.TreeDir)
	if err := s.root(spec, o, tree, net); err != nil {
		return err
	}
	for _, v := range o.Role.Volumes {
		m, err := s.directory(s.path("volumes", v.Name), tree, v.Mount, net)
		if err != nil {
			return err
		}
		m.ReadOnly = v.ReadOnly
		spec.Mounts = append(spec.Mounts, m)
	}
	for _, target := range o.Role.State {
		m, err := s.directory(s.path("state", o.Slot.Name, stateName(target)), tree, target, net)
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	return nil
}

// rootType is the file system of a root, which the agent gets ready for while its machine waits.
func rootType(mode roles.RootMode) string {
	if mode == roles.RootRAM {
		return "squashfs"
	}
	return "nfs"
}

// root puts the root into a spec.
func (s *server) root(spec *agent.Spec, o roles.Orders, tree string, net network) (err error) {
	if o.Role.Root == roles.RootRAM {
		spec.Root = agent.Mount{Type: rootType(o.Role.Root), ReadOnly: true}
		spec.RAM = &agent.RAMRoot{
			Squashfs: filePath(o.Image.Ref, images.SquashfsFile), Seal: filePath(o.Image.Ref, images.SealFile), Size: o.Image.Squashfs,
		}
		return nil
	}
	if spec.Root, err = s.mount(tree, net); err != nil {
		return err
	}
	spec.Root.ReadOnly = true
	// The tree never changes: what was looked up once stays true.
	spec.Root.Options = strings.Trim(spec.Root.Options+",actimeo=3600,nocto", ",")
	return nil
}

// stateName is the name of a state directory: var-log-nginx for /var/log/nginx. No two paths share one.
func stateName(target string) string {
	return strings.NewReplacer("_", "__", "-", "_-", "/", "-").Replace(strings.Trim(target, "/"))
}

// directory makes a persistent directory when it is missing, with the owner and mode that target has in
// the image, and says how to mount it.
func (s *server) directory(dir, tree, target string, net network) (agent.Mount, error) {
	if s.Config.Images.NFS.Server != "external" {
		s.making.Lock() // an agent may ask twice
		err := makeLike(dir, filepath.Join(tree, target))
		s.making.Unlock()
		if err != nil {
			return agent.Mount{}, err
		}
	}
	m, err := s.mount(dir, net)
	m.Target = target
	return m, err
}

// makeLike makes dir, unless it is there, like model. It gets its name last: one that a full disk or a
// crash left with the wrong owner would never be put right.
func makeLike(dir, model string) error {
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
	if err := errors.Join(os.Chmod(fresh, 0o755), takeAfter(fresh, model)); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return nil
}

// takeAfter gives dir the owner and mode of model, where there is one.
func takeAfter(dir, model string) error {
	fi, err := os.Lstat(model)
	if err != nil || !fi.IsDir() {
		return nil
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return os.Chmod(dir, fi.Mode())
}

// mount says how a node of net reaches dir.
func (s *server) mount(dir string, net network) (agent.Mount, error) {
	m, err := s.exports.Mount(dir)
	if err != nil {
		return agent.Mount{}, err
	}
	if !m.Server.IsValid() {
		m.Server = net.Server
		if a := s.Config.Images.NFS.Address; a.IsValid() {
			m.Server = a
		}
	}
	return agent.Mount{Type: "nfs", Server: m.Server, Path: m.Path, Port: m.Port, MountPort: m.MountPort, Options: m.Options}, nil
}
