package serve

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"muster/cmd/muster/config"
	"muster/cmd/muster/doctor"
	"muster/dhcpd"
	"muster/images"
	"muster/images/nfs"
	"muster/roles/api"
)

// build makes a new version of a role's image.
func (s *server) build(ctx context.Context, name string, progress func(api.BuildProgress)) (images.Image, error) {
	role, err := s.registry.EffectiveRole(name)
	if err != nil {
		return images.Image{}, err
	}
	return s.builder().build(ctx, role, progress)
}

// importImage makes an image of something that exists already.
func (s *server) importImage(ctx context.Context, name string, recipe images.Recipe, progress func(api.BuildProgress)) (images.Image, error) {
	return s.builder().make(ctx, name, recipe, images.Options{}, progress)
}

func (s *server) builder() builder {
	return builder{s.catalog, s.library, s.path("cache"), s.Agent, s.log.With("service", "images")}
}

// examine runs the doctor on this server.
func (s *server) examine(ctx context.Context) ([]api.Finding, error) {
	env := doctor.Env{
		Interfaces: s.Config.DHCPD.Interfaces, IPXE: s.Config.TFTPD.IPXE, TFTP: s.Config.TFTPD.Listen,
		HTTP: s.Config.HTTPBoot.Listen, Data: s.Config.Data, Offers: s.otherServers, DHCP: part[s.Config.DHCPD.Mode],
		Heard: s.heard(),
	}
	for _, n := range s.networks {
		env.Subnets = append(env.Subnets, n.Prefix)
	}
	all, err := s.catalog.List()
	if err != nil {
		return nil, err
	}
	for _, img := range all {
		if img.Current {
			env.Images = append(env.Images, doctor.Image{Name: img.Ref.String(), Size: img.KernelSize, Path: kernelPath(img.Ref)})
		}
	}
	for _, e := range s.wantedExports() {
		// Volumes and state are the pools' alone; this server may look at what every machine may mount.
		if m, err := s.exports.Mount(e.Path); err == nil && s.mayMount(e) {
			env.Exports = append(env.Exports, doctor.Export{Server: m.Server, Path: m.Path, Port: m.Port, MountPort: m.MountPort})
		}
	}
	var out []api.Finding
	for _, f := range doctor.Run(ctx, env) {
		out = append(out, api.Finding{Check: f.Check, Status: string(f.Status), Detail: f.Detail, Fix: f.Fix})
	}
	pairs, err := s.examinePairs()
	return append(out, pairs...), err
}

// part is what a mode means to the doctor.
var part = map[string]doctor.DHCP{config.ModeProxy: doctor.DHCPProxy, config.ModeOff: doctor.DHCPOff}

// mayMount reports whether this server is itself a client of e.
func (s *server) mayMount(e nfs.Export) bool {
	return slices.ContainsFunc(e.Clients, func(c netip.Prefix) bool {
		return slices.ContainsFunc(s.networks, func(n network) bool { return c.Contains(n.Server) })
	})
}

// otherServers asks for the DHCP servers of a segment. This server answers itself, as any machine's.
func (s *server) otherServers(ctx context.Context, iface string) ([]doctor.Offer, error) {
	found, err := dhcpd.Detect(ctx, iface)
	var out []doctor.Offer
	for _, o := range found {
		out = append(out, doctor.Offer{Server: o.Server, Address: o.Address, BootFile: o.BootFile, NextServer: o.NextServer})
	}
	return out, err
}

// layers is one file system out of several: the first that has a name serves it.
type layers []fs.FS

// Open implements fs.FS.
func (l layers) Open(name string) (f fs.File, err error) {
	for _, from := range l {
		if f, err = from.Open(name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}
