package images

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// modules.go chooses the kernel modules of an initrd.

// Modules are named without .ko; "dir/" takes everything below; what a kernel does not have is passed over.
var (
	// baseModules every node needs: buses by which NICs are found, packets, NFS, the root's overlay.
	baseModules = []string{
		"virtio_pci", "virtio_mmio", "hv_vmbus", "xenbus_probe_frontend", "virtio-rng",
		"virtio_net", "vmxnet3", "ena", "gve", "hv_netvsc", "xen-netfront", "mana",
		"af_packet", "ipv6", "nfs", "nfsv3", "nfsv4", "overlay", "squashfs", "loop", "crc32c_generic",
		"crc32c-intel",
	}
	// fullModules are every Ethernet driver, with the PHY drivers that they ask for at run time, and the
	// USB ones that servers without a port of their own are booted with.
	fullModules = []string{
		"kernel/drivers/net/ethernet/", "kernel/drivers/net/phy/", "kernel/drivers/net/mdio/",
		"kernel/drivers/net/usb/", "xhci-pci", "ehci-pci",
	}
	// alwaysLoaded is what the agent loads in every boot, in this order, after the NICs' drivers.
	alwaysLoaded = []string{"af_packet", "crc32c_generic", "nfsv3", "nfsv4", "overlay"}
)

// moduleTree is a kernel's /lib/modules/<release>.
type moduleTree struct {
	fsys fs.FS
	// deps maps a module's path to those it needs, deepest last, as in modules.dep. Paths end in .ko; stored
	// has those of the files, which may be compressed.
	deps   map[string][]string
	stored map[string]string
	// paths maps a module's name, with "_" for "-", to its path.
	paths map[string]string
	// soft maps a module's name to names it asks for at run time.
	soft map[string][]string
}

// readModules reads the tree's indexes.
func readModules(fsys fs.FS) (*moduleTree, error) {
	b, err := fs.ReadFile(fsys, "modules.dep")
	if err != nil {
		return nil, fmt.Errorf("images: kernel modules: %w", err)
	}
	t := &moduleTree{fsys: fsys, deps: map[string][]string{}, stored: map[string]string{}, paths: map[string]string{}, soft: map[string][]string{}}
	for line := range strings.Lines(string(b)) {
		name, deps, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found {
			continue
		}
		stored := name
		if name = plainName(name); !strings.HasSuffix(name, ".ko") {
			return nil, fmt.Errorf("images: kernel module %s is neither plain nor compressed with xz or zstd: %w", stored, errors.ErrUnsupported)
		}
		t.stored[name] = stored
		for _, dep := range strings.Fields(deps) {
			t.deps[name] = append(t.deps[name], plainName(dep))
		}
		t.paths[moduleName(name)] = name
	}
	soft, err := fs.ReadFile(fsys, "modules.softdep")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: kernel modules: %w", err)
	}
	for line := range strings.Lines(string(soft)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == "softdep" {
			t.soft[moduleName(f[1])] = append(t.soft[moduleName(f[1])], f[2:]...)
		}
	}
	return t, nil
}

// moduleName is the kernel's name of a module file.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// choose gives the paths of the wanted modules and of all that they need, sorted.
func (t *moduleTree) choose(wanted []string) []string {
	chosen := map[string]bool{}
	var add func(file string)
	add = func(file string) {
		if file == "" || chosen[file] {
			return
		}
		chosen[file] = true
		for _, dep := range t.deps[file] {
			add(dep)
		}
		for _, soft := range t.soft[moduleName(file)] {
			add(t.paths[moduleName(soft)]) // "pre:" and "post:" name no module
		}
	}
	for _, w := range wanted {
		if !strings.HasSuffix(w, "/") {
			add(t.paths[moduleName(w)])
			continue
		}
		for file := range t.stored {
			if strings.HasPrefix(file, w) {
				add(file)
			}
		}
	}
	return slices.Sorted(maps.Keys(chosen))
}

// read gives the modules' contents, uncompressed, in the order of files.
func (t *moduleTree) read(files []string) ([][]byte, error) {
	contents := make([][]byte, len(files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		g.Go(func() (err error) {
			contents[i], err = readPlain(t.fsys, t.stored[file])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("images: kernel modules: %w", err)
	}
	return contents, nil
}

// wantedModules is the list for a flavour.
func wantedModules(flavour string) []string {
	if flavour == KernelCloud {
		return baseModules
	}
	return slices.Concat(baseModules, fullModules)
}

// indexes gives the modules.* files for the chosen modules only: the agent reads them whole.
func (t *moduleTree) indexes(chosen []string) (map[string][]byte, error) {
	names := map[string]bool{}
	var dep bytes.Buffer
	for _, file := range chosen {
		names[moduleName(file)] = true
		fmt.Fprintf(&dep, "%s: %s\n", file, strings.Join(t.deps[file], " "))
	}
	out := map[string][]byte{"modules.dep": dep.Bytes()}
	// In both files the module's name is a field: last of "alias pattern name", second of "softdep name …".
	for index, field := range map[string]int{"modules.alias": 2, "modules.softdep": 1} {
		b, err := fs.ReadFile(t.fsys, index)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("images: kernel modules: %w", err)
		}
		var kept bytes.Buffer
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > field && names[moduleName(f[field])] {
				kept.WriteString(line)
			}
		}
		out[index] = kept.Bytes()
	}
	builtin, err := fs.ReadFile(t.fsys, "modules.builtin")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: kernel modules: %w", err)
	}
	out["modules.builtin"] = builtin
	return out, nil
}

// firmware gives the files that a module names in its .modinfo section: "firmware=" strings ended by NUL.
func firmware(module []byte) []string {
	var all []string
	for rest := module; ; {
		i := bytes.Index(rest, []byte("\x00firmware="))
		if i < 0 {
			return all
		}
		rest = rest[i+len("\x00firmware="):]
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			return all
		}
		if name := string(rest[:end]); fs.ValidPath(name) {
			all = append(all, name)
		}
		rest = rest[end:]
	}
}
