package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// kernels gives the releases of the kernels in a root, with the file of each below it.
func kernels(tree string) map[string]string {
	found := map[string]string{}
	for _, pattern := range []string{"lib/modules/*/vmlinuz", "usr/lib/modules/*/vmlinuz", "boot/vmlinuz-*"} {
		files, _ := filepath.Glob(filepath.Join(tree, pattern))
		for _, file := range files {
			info, err := os.Lstat(file)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			release := strings.TrimPrefix(filepath.Base(file), "vmlinuz-")
			if release == "vmlinuz" {
				release = filepath.Base(filepath.Dir(file))
			}
			found[release] = file // /boot, the last, is what takeKernel wants
		}
	}
	return found
}

// takeOneKernel decides for one kernel, and leaves it alone in /boot with its modules' indexes.
func (r *imported) takeOneKernel(ctx context.Context) error {
	found := kernels(r.tree)
	releases := slices.SortedFunc(maps.Keys(found), compareVersions)
	if len(releases) > 1 && r.recipe.Kernel != "" {
		ours := slices.DeleteFunc(slices.Clone(releases), func(rel string) bool { return flavourOf(rel) != r.recipe.Kernel })
		if len(ours) > 0 {
			releases = ours[len(ours)-1:]
		} else {
			releases = releases[len(releases)-1:]
		}
	}
	if len(releases) > 1 {
		return fmt.Errorf("%s has the kernels %s: say which is meant by kernel (%s or %s), or leave one only: %w",
			r.recipe.From, strings.Join(releases, ", "), KernelFull, KernelCloud, fs.ErrInvalid)
	}
	if r.recipe.Kernel == "" {
		r.recipe.Kernel = KernelFull
		if len(releases) == 1 {
			r.recipe.Kernel = flavourOf(releases[0])
		}
		defer func() { r.img.Flavour = r.recipe.Kernel }()
	}
	if len(releases) == 0 {
		return nil
	}
	r.kernel = releases[0]
	if err := checkKernel(found[r.kernel]); err != nil {
		return err
	}
	boot, err := filepath.Glob(filepath.Join(r.tree, "boot/vmlinuz-*"))
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	for _, other := range boot {
		if other == found[r.kernel] {
			continue
		}
		fmt.Fprintf(r.log, "I: muster: removed %s: the image boots %s\n", filepath.Base(other), r.kernel)
		if err := os.Remove(other); err != nil {
			return fmt.Errorf("images: %w", err)
		}
	}
	if err := os.Rename(found[r.kernel], filepath.Join(r.tree, "boot/vmlinuz-"+r.kernel)); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return r.depmod(ctx)
}

// flavourOf tells the flavour of a kernel by the name that Debian gives it.
func flavourOf(release string) string {
	if strings.Contains(release, "cloud") {
		return KernelCloud
	}
	return KernelFull
}

// checkKernel looks at the header of the x86 boot protocol.
func checkKernel(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0x202); err != nil || !bytes.Equal(magic, []byte("HdrS")) {
		return fmt.Errorf("its kernel %s is not one for %s: %w", filepath.Base(file), arch, fs.ErrInvalid)
	}
	return nil
}

// depmod makes the modules' indexes where they are missing.
func (r *imported) depmod(ctx context.Context) error {
	dir := filepath.Join(r.tree, "usr/lib/modules", r.kernel)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil // missing says so
	}
	if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
		return nil
	}
	cmd := exec.Command("depmod", "-b", r.tree, r.kernel)
	if cmd.Err != nil {
		return fmt.Errorf("its modules have no index (modules.dep), and depmod is not installed here: apt-get install kmod: %w", fs.ErrNotExist)
	}
	fmt.Fprintf(r.log, "I: muster: %q\n", cmd.Args)
	cmd.Stdout, cmd.Stderr = r.log, r.log
	if err := isolated(ctx, cmd); err != nil {
		return fmt.Errorf("depmod: %w", err)
	}
	return nil
}

// compareVersions orders releases as people do: 6.1.9 before 6.1.10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da != "" && db != "" {
			x, y := strings.TrimLeft(da, "0"), strings.TrimLeft(db, "0")
			if c := len(x) - len(y); c != 0 {
				return c
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[len(da):], b[len(db):]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func digits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// missingModules names what the kernel needs for a boot and has not, neither as a module nor built in.
func (r *imported) missingModules() ([]lack, error) {
	kernel := r.kernelPackage()
	fsys := os.DirFS(filepath.Join(r.tree, "usr/lib/modules", r.kernel))
	m, err := readModules(fsys)
	if errors.Is(err, fs.ErrNotExist) {
		return []lack{{"the modules of its kernel " + r.kernel, kernel}}, nil
	}
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	nic := false
	see := func(file string) {
		have[moduleName(file)] = true
		nic = nic || strings.Contains(file, "drivers/net/")
	}
	for _, file := range m.choose(wantedModules(r.recipe.Kernel)) {
		see(file)
	}
	builtin, err := fs.ReadFile(fsys, "modules.builtin")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("images: %w", err)
	}
	for line := range strings.Lines(string(builtin)) {
		see(strings.TrimSpace(line))
	}
	var all []lack
	for name, what := range map[string]string{"nfs": "NFS (nfs)", "overlay": "overlayfs (overlay)", "af_packet": "packet sockets (af_packet)"} {
		if !have[name] {
			all = append(all, lack{"in its kernel " + r.kernel + " " + what, kernel})
		}
	}
	slices.SortFunc(all, func(a, b lack) int { return strings.Compare(a.what, b.what) })
	if !nic {
		all = append(all, lack{"in its kernel " + r.kernel + " drivers of network cards", kernel})
	}
	return all, nil
}
