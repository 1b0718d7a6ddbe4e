package serve

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"muster/cmd/muster/config"
	"muster/images"
	"muster/roles"
	"muster/roles/api"
)

// TestLocalImagesArePrivate: also on a machine where no server has run yet, nobody but root reaches the set-uid
// programs of images; and other users reach what else will be in the data directory.
func TestLocalImagesArePrivate(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes the server's keys")
	}
	c := &config.Config{Data: filepath.Join(t.TempDir(), "data"), Library: "/nonexistent"}
	b, err := localBuilder(c, "")
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]os.FileMode{c.Data: 0o755, b.catalog.Dir: 0o700, filepath.Join(c.Data, "keys"): 0o700} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want the mode %v", dir, info, err, want)
		}
	}
	if len(b.catalog.Key) == 0 {
		t.Error("what is built here is not signed")
	}
}

// debstrap is mmdebstrap for tests: it makes what a root must have in its first argument that is a path.
const debstrap = `#!/bin/sh
set -e
for a; do case $a in /*) tree=$a ;; esac; done
mkdir -p "$tree/etc" "$tree/boot" "$tree/var/cache/apt/archives" "$tree/var/lib/dpkg" "$tree/usr/lib/modules/6.1/kernel"
echo 'root:*:1::::::' >"$tree/etc/shadow"
echo 'ID=debian' >"$tree/usr/lib/os-release"
echo kernel >"$tree/boot/vmlinuz-6.1"
echo module >"$tree/usr/lib/modules/6.1/kernel/nfs.ko"
echo 'kernel/nfs.ko:' >"$tree/usr/lib/modules/6.1/modules.dep"
touch "$tree/var/lib/dpkg/status"
`

// TestImageForRAMIsWholeOrNone: an image that nodes hold in RAM becomes current when it has its squashfs, and not
// before; where there is no space for that, nothing is left.
func TestImageForRAMIsWholeOrNone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: builds make namespaces")
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("needs mksquashfs: packs an image")
	}
	bin := t.TempDir()
	agent := filepath.Join(bin, "agent")
	for name, text := range map[string]string{"mmdebstrap": debstrap, "agent": "agent"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	b, err := localBuilder(&config.Config{Data: filepath.Join(bin, "data"), Library: "/nonexistent"}, agent)
	if err != nil {
		t.Fatal(err)
	}
	role := roles.Role{Name: "web", Root: roles.RootRAM, Recipe: images.Recipe{Kernel: images.KernelCloud}}
	build := func() (images.Image, error) { return b.build(t.Context(), role, func(api.BuildProgress) {}) }
	first, err := build()
	if err != nil || !first.Current || first.Squashfs == 0 {
		t.Fatalf("build = %+v, %v", first, err)
	}
	if err := os.WriteFile(filepath.Join(bin, "mksquashfs"), []byte("#!/bin/sh\necho no space >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := build(); err == nil {
		t.Error("an image without its squashfs is none")
	}
	all, err := b.catalog.List()
	if err != nil || len(all) != 1 || all[0].Ref != first.Ref || !all[0].Current {
		t.Errorf("there are %+v, %v", all, err)
	}
	if err := os.Remove(filepath.Join(bin, "mksquashfs")); err != nil {
		t.Fatal(err)
	}
	if next, err := build(); err != nil || !next.Current || next.Squashfs == 0 || next.Ref == first.Ref {
		t.Errorf("build = %+v, %v", next, err)
	}
}
