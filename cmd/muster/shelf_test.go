package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing/fstest"
	"time"

	"muster/cmd/muster/serve"
	"muster/images"
	"muster/images/rootfs"
	"muster/roles/api"
)

const shelfKernel = "6.1.0-39-cloud-amd64"

// shelf has every image in the versions 6 to 8, of which 7 is current: for what needs no files of them.
type shelf struct{ api.Images }

func (shelf) List() (out []images.Image, _ error) {
	for v := 6; v <= 8; v++ {
		im, err := shelf{}.Find(images.Ref{Name: "web", Version: v})
		if err != nil {
			return nil, err
		}
		out = append(out, im)
	}
	return out, nil
}

// SetCurrent changes nothing: what is on the shelf stays as it is.
func (shelf) SetCurrent(images.Ref) error { return nil }

func (shelf) Find(ref images.Ref) (images.Image, error) {
	switch {
	case ref.Version == 0:
		ref.Version = 7
	case ref.Version < 6 || ref.Version > 8:
		return images.Image{}, fmt.Errorf("images: there is no image %q: %w", ref, fs.ErrNotExist)
	}
	im := images.Image{
		Ref: ref, Digest: "sha256:12ab", Kernel: shelfKernel, Arch: "x86_64", Flavour: "cloud", Size: 412 << 20, Files: 10234,
		KernelSize: 8 << 20, InitrdSize: 5 << 20, Built: time.Date(2026, 2, 28, 8, 0, 0, 0, time.UTC), Current: ref.Version == 7,
		Signed: ref.Version > 6,
	}
	if im.Current {
		im.Squashfs = 128 << 20
	}
	return im, nil
}

// debstrap is mmdebstrap for tests: it copies a directory to its first argument that is a path, and adds what a
// root must have.
const debstrap = `#!/bin/sh
set -e
for a; do case $a in /*) tree=$a ;; esac; done
echo "I: downloading packages with apt..."
mkdir -p "$tree/etc" "$tree/boot" "$tree/var/cache/apt/archives" "$tree/usr/lib/modules/%[1]s/kernel"
cp -a '%[2]s/seed/.' "$tree"
echo 'root:*:1::::::' >"$tree/etc/shadow"
echo 'ID=debian' >"$tree/usr/lib/os-release"
echo kernel >"$tree/boot/vmlinuz-%[1]s"
echo module >"$tree/usr/lib/modules/%[1]s/kernel/nfs.ko"
echo 'kernel/nfs.ko:' >"$tree/usr/lib/modules/%[1]s/modules.dep"
`

// configYAML is the configuration of a server with these images.
const configYAML = `data: %s/data
dhcpd:
  interfaces: [eth1]
  subnets:
  - {subnet: 10.77.0.0/24, range: 10.77.0.100-10.77.0.199}
`

// baking is held by the script whose images are real. The locks of a catalog are files, and a child of another
// script has every open file between its fork and its exec: a lock would be taken for a moment longer than it is.
var baking sync.Mutex

// catalog makes the world's images real: built by images.Builder, of files that the script has.
func (w *world) catalog() error {
	baking.Lock()
	before := w.stop
	w.stop = func() { before(); baking.Unlock() }
	keys := filepath.Join(w.dir, "data", "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return err
	}
	key, err := images.LoadKey(filepath.Join(keys, "images.pem"))
	if err != nil {
		return err
	}
	w.bakery = &images.Builder{
		Catalog: &images.Catalog{Dir: filepath.Join(w.dir, "data", "images"), Key: key},
		Cache:   filepath.Join(w.dir, "cache"), Agent: filepath.Join(w.dir, "agent"),
		Mmdebstrap: filepath.Join(w.dir, "mmdebstrap"), Etc: fstest.MapFS{},
		Sources: map[string]images.Source{"dir": rootfs.Dir{}},
	}
	w.images = serve.Images{Catalog: w.bakery.Catalog}
	if err := os.WriteFile(w.bakery.Agent, []byte("agent"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "muster.yaml"), fmt.Appendf(nil, configYAML, w.dir), 0o644); err != nil {
		return err
	}
	return os.WriteFile(w.bakery.Mmdebstrap, fmt.Appendf(nil, debstrap, shelfKernel, w.dir), 0o755)
}

// build is the server's: of the shelf, or for real.
func (w *world) build(ctx context.Context, role string, progress func(api.BuildProgress)) (images.Image, error) {
	if role == "ntp" {
		return images.Image{}, fmt.Errorf("images: mmdebstrap is not installed: run make setup")
	}
	if w.bakery != nil {
		r, err := w.reg.EffectiveRole(role)
		if err != nil {
			return images.Image{}, err
		}
		return w.make(ctx, r.ImageName(), r.Recipe, progress)
	}
	progress(api.BuildProgress{Step: "packages", Message: "nginx-light", Percent: 40, Remaining: 90e9})
	return shelf{}.Find(images.Ref{Name: role})
}

// make builds or imports an image for real, or pretends to for the shelf.
func (w *world) make(ctx context.Context, name string, r images.Recipe, progress func(api.BuildProgress)) (images.Image, error) {
	if w.bakery == nil {
		progress(api.BuildProgress{Step: "import", Message: fmt.Sprintf("kernel %s, packages %v, services %v", r.Kernel, r.Packages, r.Services), Percent: 3})
		return shelf{}.Find(images.Ref{Name: name})
	}
	if r.From == "" {
		r.Kernel = images.KernelCloud
	}
	return w.bakery.Build(ctx, name, r, images.Options{Progress: func(p images.Progress) {
		progress(api.BuildProgress{Step: string(p.Stage), Message: p.Message, Percent: p.Percent})
	}})
}
