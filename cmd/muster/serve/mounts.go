package serve

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"

	"muster/httpboot/agent"
	"muster/images"
	"muster/roles"
)

// backend is where the nodes of a pool mount from.
func (s *server) backend(p roles.Pool) images.Backend {
	if p.Storage != "" {
		return pairBackend{p, s.registry, &s.contents, &s.packs}
	}
	return embedded{
		exports: s.exports, data: s.Config.Data, address: s.Config.Images.NFS.Address,
		external: s.Config.Images.NFS.Server == "external", making: &s.making,
	}
}

// offer says what a node has to wait for before it can load or mount its root, volumes and state; "" for nothing.
func (s *server) offer(ctx context.Context, o roles.Orders) (why string, err error) {
	if o.Role.Root == roles.RootRAM {
		if why := s.packs.wait(o.Image); why != "" {
			return why, nil
		}
	}
	p, err := s.registry.Pool(o.Slot.Pool)
	if err != nil {
		return "", err
	}
	return s.backend(p.Pool).Offer(ctx, needOf(o))
}

// mounts puts the root, the volumes and the state directories into a spec.
func (s *server) mounts(spec *agent.Spec, o roles.Orders, net network) error {
	p, err := s.registry.Pool(o.Slot.Pool)
	if err != nil {
		return err
	}
	b := s.backend(p.Pool)
	if spec.Root, err = rootMount(spec, b, o, net); err != nil {
		return err
	}
	for _, v := range o.Role.Volumes {
		m, err := b.Directory(images.VolumePath(v.Name))
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, volumeAt(m, net, v))
	}
	for _, target := range o.Role.State {
		m, err := b.Directory(images.StatePath(o.Slot.Name, target))
		if err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, mountAt(m, net, target, false))
	}
	return nil
}

// coherentOptions keep a node from answering out of its caches what only the storage knows. Not noac, which is more
// than this: it makes each write(2) wait for the disk.
const coherentOptions = "actimeo=0,lookupcache=none"

// needOf is what a node mounts.
func needOf(o roles.Orders) images.Need {
	n := images.Need{Slot: o.Slot.Name, Address: o.Slot.Address}
	if o.Role.Root != roles.RootRAM {
		n.Root = &o.Image
	}
	tree := filepath.Join(o.Image.Dir, images.TreeDir)
	for _, v := range o.Role.Volumes {
		n.Dirs = append(n.Dirs, images.DirLike(images.VolumePath(v.Name), tree, v.Mount))
	}
	for _, target := range o.Role.State {
		n.Dirs = append(n.Dirs, images.DirLike(images.StatePath(o.Slot.Name, target), tree, target))
	}
	return n
}

// rootType is the file system of a root, which the agent gets ready for while its machine waits.
func rootType(mode roles.RootMode) string {
	if mode == roles.RootRAM {
		return "squashfs"
	}
	return "nfs"
}

// rootMount gives a spec's root, and puts what is to be loaded for it into the spec.
func rootMount(spec *agent.Spec, b images.Backend, o roles.Orders, net network) (agent.Mount, error) {
	if o.Role.Root == roles.RootRAM {
		spec.RAM = &agent.RAMRoot{
			Squashfs: filePath(o.Image.Ref, images.SquashfsFile), Seal: filePath(o.Image.Ref, images.SealFile), Size: o.Image.Squashfs,
		}
		return agent.Mount{Type: rootType(o.Role.Root), ReadOnly: true}, nil
	}
	m, err := b.Root(o.Image.Ref)
	return mountAt(m, net, "", true), err
}

// volumeAt is a volume of a role, which is at m, as the agent of a node in net reads it.
func volumeAt(m images.Mount, net network, v roles.VolumeMount) agent.Mount {
	if v.Coherent {
		m.Options = strings.Trim(m.Options+","+coherentOptions, ",")
	}
	return mountAt(m, net, v.Mount, v.ReadOnly)
}

// mountAt is m as the agent of a node in net reads it.
func mountAt(m images.Mount, net network, target string, readOnly bool) agent.Mount {
	out := agent.Mount{Type: "nfs", Server: m.Server, Path: m.Path, Version: m.Version, Port: m.Port, MountPort: m.MountPort,
		Options: m.Options, Target: target, ReadOnly: readOnly}
	if (out.Server == netip.Addr{}) {
		out.Server = net.Server
	}
	return out
}
