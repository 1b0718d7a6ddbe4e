package nfstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/images"
)

// bootFiles makes a kernel and an initrd with our /init: Debian's cloud kernel, whose package is
// downloaded once and kept in the user's cache directory.
func bootFiles(t *testing.T) (kernel, initrd string) {
	t.Helper()
	tree, err := kernelTree()
	if err != nil {
		t.Fatal(err)
	}
	kernels, _ := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		t.Fatalf("%d kernels in %s, want 1", len(kernels), tree)
	}
	init := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-o", init, "muster/images/nfs/nfstest/machine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	command(t, build)
	initrd = filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	release := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	if err := images.WriteInitrd(f, tree, release, images.KernelCloud, init); err != nil {
		t.Fatal(err)
	}
	return kernels[0], initrd
}

// kernelTree gives the unpacked kernel package, downloading it the first time.
func kernelTree() (string, error) { return cached("kernel", unpackKernel) }

// serverTree gives the unpacked package of the kernel's NFS server's tools, downloading it the first time.
// Installed it would start a server at the next boot.
func serverTree() (string, error) {
	return cached("nfs-kernel-server", func(work string) (string, error) { return unpack(work, "nfs-kernel-server") })
}

// cached gives a directory of the user's cache, which make gives the first time: it works in an empty
// directory and gives the one to keep.
func cached(name string, make func(work string) (string, error)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	tree := filepath.Join(cache, "muster-nfstest", name)
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	if err := os.MkdirAll(filepath.Dir(tree), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(tree), "unpack-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	root, err := make(work)
	if err != nil {
		return "", err
	}
	// Another test may have been faster; its tree is as good.
	if err := os.Rename(root, tree); err != nil {
		if _, missing := os.Stat(tree); missing != nil {
			return "", err
		}
	}
	return tree, nil
}

// unpackKernel downloads the package into work and gives the root with its files.
func unpackKernel(work string) (root string, err error) {
	// The package of that name is empty and depends on the one with the kernel.
	depends, err := output(exec.Command("apt-cache", "depends", "linux-image-cloud-amd64"))
	if err != nil {
		return "", err
	}
	var name string
	for line := range strings.Lines(depends) {
		if dep, is := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); is {
			name = dep
		}
	}
	root, err = unpack(work, name)
	if err != nil {
		return "", err
	}
	release, err := onlyName(filepath.Join(root, "usr/lib/modules"))
	if err != nil {
		return "", err
	}
	_, err = output(exec.Command("depmod", "-b", root, release))
	return root, err
}

// unpack downloads a package into work and gives the root with its files.
func unpack(work, name string) (root string, err error) {
	download := exec.Command("apt-get", "-o", "APT::Sandbox::User=root", "download", name)
	download.Dir = work
	if _, err := output(download); err != nil {
		return "", err
	}
	debs, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s gave %d packages", name, len(debs))
	}
	root = filepath.Join(work, "root")
	// A merged /usr, as in an image.
	err = errors.Join(os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755), os.Symlink("usr/lib", filepath.Join(root, "lib")))
	if err != nil {
		return "", err
	}
	unpack := exec.Command("sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -C "$2" -x --keep-directory-symlink`, "sh", debs[0], root)
	_, err = output(unpack)
	return root, err
}

// onlyName gives the name of a directory's only entry.
func onlyName(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) != 1 {
		err = fmt.Errorf("%s has %d entries, want 1", dir, len(entries))
	}
	if err != nil {
		return "", err
	}
	return entries[0].Name(), nil
}

// output runs cmd; its error holds what cmd said.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return string(out), nil
}

// command runs cmd and gives its output.
func command(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
