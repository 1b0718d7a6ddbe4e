package images

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// missing names everything that the root lacks for a boot from the network, and for what the recipe does with it.
func (r *imported) missing() []lack {
	var all []lack
	need := func(has bool, what, pkg string) {
		if !has {
			all = append(all, lack{what, pkg})
		}
	}
	need(r.kernel != "", "a kernel (/boot/vmlinuz-*)", r.kernelPackage())
	if r.kernel != "" {
		modules, err := r.missingModules()
		if err != nil {
			modules = []lack{{fmt.Sprintf("readable modules of its kernel (%v)", err), ""}}
		}
		all = append(all, modules...)
	}
	need(existsIn(r.tree, "/sbin/init"), "an init (/sbin/init)", "systemd-sysv")
	if r.hasSystemd() {
		need(existsIn(r.tree, "/usr/lib/systemd/systemd-udevd") || existsIn(r.tree, "/lib/systemd/systemd-udevd") || existsIn(r.tree, "/usr/bin/udevadm"), "udev, which systemd needs to find devices", "udev")
	}
	if len(r.recipe.Services) > 0 {
		need(existsIn(r.tree, "/usr/bin/systemctl") || existsIn(r.tree, "/bin/systemctl"), "systemctl, to enable the services "+strings.Join(r.recipe.Services, ", "), "systemd")
	}
	if len(r.recipe.Hooks) > 0 {
		need(existsIn(r.tree, "/bin/sh"), "a shell for the hooks (/bin/sh)", "dash")
	}
	return all
}

func (r *imported) hasSystemd() bool {
	return existsIn(r.tree, "/usr/lib/systemd/systemd") || existsIn(r.tree, "/lib/systemd/systemd")
}

func (r *imported) hasApt() bool {
	return existsIn(r.tree, "/usr/bin/dpkg") && existsIn(r.tree, "/usr/bin/apt-get") && existsIn(r.tree, "/var/lib/dpkg/status")
}

// osRelease is what os-release(5) says of a root.
type osRelease struct {
	id, like, codename, name string
}

// readOS reads it; everything is empty where it says nothing.
func readOS(tree string) osRelease {
	var o osRelease
	root, err := os.OpenRoot(tree)
	if err != nil {
		return o
	}
	defer root.Close()
	b, err := root.ReadFile("usr/lib/os-release")
	if err != nil {
		return o
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			o.id = value
		case "ID_LIKE":
			o.like = value
		case "VERSION_CODENAME":
			o.codename = value
		case "PRETTY_NAME":
			o.name = value
		}
	}
	return o
}

// kernelPackage is the package with the kernel of the recipe's flavour.
func (r *imported) kernelPackage() string {
	cloud := r.recipe.Kernel == KernelCloud
	switch {
	case r.os.id == "ubuntu" && cloud:
		return "linux-image-virtual"
	case r.os.id == "ubuntu":
		return "linux-image-generic"
	case cloud:
		return "linux-image-cloud-amd64"
	}
	return "linux-image-amd64"
}

// installedPackages gives the names of a root's packages.
func installedPackages(tree string) (map[string]bool, error) {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	defer root.Close()
	b, err := fs.ReadFile(root.FS(), filepath.ToSlash("var/lib/dpkg/status"))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	all := map[string]bool{}
	for stanza := range strings.SplitSeq(string(b), "\n\n") {
		name, ok := "", false
		for line := range strings.Lines(stanza) {
			if v, is := strings.CutPrefix(line, "Package: "); is {
				name = strings.TrimSpace(v)
			}
			if v, is := strings.CutPrefix(line, "Status: "); is {
				ok = strings.HasSuffix(strings.TrimSpace(v), " ok installed")
			}
		}
		if ok {
			all[name] = true
		}
	}
	return all, nil
}
