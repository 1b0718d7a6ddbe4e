package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"muster/cmd/muster/config"
	"muster/images"
	"muster/images/iso"
	"muster/images/oci"
	"muster/images/rootfs"
	"muster/roles"
	"muster/roles/api"
)

// builder builds images of roles, for a running server and without one.
type builder struct {
	catalog *images.Catalog
	library library
	cache   string
	agent   string
	log     *slog.Logger
}

func (b builder) build(ctx context.Context, role roles.Role, progress func(api.BuildProgress)) (images.Image, error) {
	var overlays []fs.FS
	if overlay, ok := b.library.overlays[role.Name]; ok {
		overlays = []fs.FS{overlay}
	}
	inRAM := role.Root == roles.RootRAM
	img, err := b.make(ctx, role.ImageName(), role.Recipe, images.Options{Overlays: overlays, Keep: inRAM}, progress)
	if err != nil || !inRAM {
		return img, err
	}
	progress(api.BuildProgress{Step: "squashfs", Message: "packing " + img.Ref.String() + " for nodes that hold it in RAM", Percent: 99})
	return b.pack(ctx, img.Ref)
}

// pack makes a new version whole for nodes that hold it in RAM, and current only then. When it fails, nothing is left
// of the version: nodes that restart meanwhile have the one before.
func (b builder) pack(ctx context.Context, ref images.Ref) (images.Image, error) {
	img, err := b.catalog.Pack(ctx, ref)
	if err != nil {
		return images.Image{}, errors.Join(err, b.catalog.Remove(ref))
	}
	if now, err := b.catalog.Find(images.Ref{Name: ref.Name}); err == nil && now.Ref.Version > ref.Version {
		return img, nil // a later build was faster
	}
	if err := b.catalog.SetCurrent(ref); err != nil {
		return images.Image{}, err
	}
	img.Current = true
	return img, nil
}

// make builds or imports an image.
func (b builder) make(ctx context.Context, name string, recipe images.Recipe, o images.Options, progress func(api.BuildProgress)) (images.Image, error) {
	ib := images.Builder{Catalog: b.catalog, Cache: b.cache, Agent: b.agent, Sources: sources, Logger: b.log}
	o.Progress = func(p images.Progress) {
		progress(api.BuildProgress{Step: string(p.Stage), Message: p.Message, Percent: p.Percent, Remaining: roles.Duration(p.Remaining)})
	}
	return ib.Build(ctx, name, recipe, o)
}

// sources are what images can be imported from.
var sources = map[string]images.Source{
	"oci":        oci.Registry{},
	"oci+http":   oci.Registry{PlainHTTP: true},
	"oci-layout": oci.Layout{},
	"tar":        rootfs.Tar{},
	"dir":        rootfs.Dir{},
	"iso":        iso.Source{},
}

// BuildLocal builds a role's image into the data directory of c, without a server: on a machine that has a
// way to the packages where the boot server has none. The role is the library's, with that of d over it.
func BuildLocal(ctx context.Context, c *config.Config, agent string, d roles.Declaration, name string, progress func(api.BuildProgress)) (images.Image, error) {
	b, err := localBuilder(c, agent)
	if err != nil {
		return images.Image{}, err
	}
	role, ok := b.library.roles[name]
	for _, r := range d.Roles {
		if r.Name == name {
			role, ok = r.Over(role), true
		}
	}
	if !ok {
		return images.Image{}, fmt.Errorf("role %q is neither declared nor in the library: %w", name, fs.ErrNotExist)
	}
	return b.build(ctx, role, progress)
}

// ImportLocal imports an image into the data directory of c, without a server.
func ImportLocal(ctx context.Context, c *config.Config, agent, name string, recipe images.Recipe, progress func(api.BuildProgress)) (images.Image, error) {
	b, err := localBuilder(c, agent)
	if err != nil {
		return images.Image{}, err
	}
	return b.make(ctx, name, recipe, images.Options{}, progress)
}

// LocalCatalog is the images in the data directory of c, as its server has them.
func LocalCatalog(c *config.Config) (*images.Catalog, error) {
	k, err := loadKeys(c.Data)
	if err != nil {
		return nil, err
	}
	return &images.Catalog{Dir: filepath.Join(c.Data, "images"), Key: k.images}, nil
}

func localBuilder(c *config.Config, agent string) (b builder, err error) {
	if os.Getuid() != 0 {
		return b, fmt.Errorf("building needs root: an image has other users' files, and the keys are root's; use sudo: %w", fs.ErrPermission)
	}
	if b.library, err = loadLibrary(c.Library); err != nil {
		return b, err
	}
	if err := makeData(c.Data); err != nil {
		return b, err
	}
	if b.catalog, err = LocalCatalog(c); err != nil {
		return b, err
	}
	b.cache, b.agent, b.log = filepath.Join(c.Data, "cache"), agent, slog.New(slog.DiscardHandler)
	return b, nil
}
