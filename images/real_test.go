package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRealImages builds with mmdebstrap and Debian's packages, for both kernels.
func TestRealImages(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: mmdebstrap makes other users' files")
	}
	for _, tool := range []string{"mmdebstrap", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	dir := t.TempDir()
	agent := filepath.Join(dir, "muster-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "muster/cmd/muster-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the agent: %v\n%s", err, out)
	}
	c := &Catalog{Dir: filepath.Join(dir, "images")}
	b := &Builder{Catalog: c, Cache: filepath.Join(dir, "cache"), Agent: agent}
	overlay := fstest.MapFS{"etc/chrony/conf.d/test.conf": {Data: []byte("allow\n"), Mode: 0o444}}
	// Budgets for the whole initrd, agent included: what a machine of a boot storm fetches.
	for flavour, budget := range map[string]int64{KernelCloud: 5 << 20, KernelFull: 40 << 20} {
		img, err := b.Build(t.Context(), "time", Recipe{Packages: []string{"chrony"}, Services: []string{"chrony.service"}, Kernel: flavour}, Options{Overlays: []fs.FS{overlay}})
		if err != nil {
			log, _ := os.ReadFile(filepath.Join(c.Dir, "time/build-1.log"))
			t.Fatalf("%v\n%s", err, log[max(0, len(log)-4000):])
		}
		if img.InitrdSize > budget {
			t.Errorf("%s: the initrd has %d bytes, budget %d", flavour, img.InitrdSize, budget)
		}
		if strings.Contains(img.Kernel, "cloud") != (flavour == KernelCloud) || img.Flavour != flavour {
			t.Errorf("%s: kernel %s, flavour %s", flavour, img.Kernel, img.Flavour)
		}
		log, err := os.ReadFile(filepath.Join(c.Dir, "time", fmt.Sprintf("build-%d.log", img.Ref.Version)))
		if has := strings.Contains(string(log), "no firmware for the drivers") && strings.Contains(string(log), " bnx2, "); has != (flavour == KernelFull) {
			t.Errorf("%s: the log tells of missing firmware: %t (%v)", flavour, has, err)
		}
		if problems, err := c.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
			t.Errorf("%s: Verify = %v, %v", flavour, problems, err)
		}
		checkTree(t, filepath.Join(img.Dir, TreeDir))
		checkNICs(t, filepath.Join(img.Dir, TreeDir), img)
	}
	if debs, _ := filepath.Glob(filepath.Join(b.Cache, "archives/*.deb")); len(debs) < 100 {
		t.Errorf("%d packages in the cache, want more than 100", len(debs))
	}
}

// checkTree looks for what makes a root fit for diskless nodes that share it.
func checkTree(t *testing.T, tree string) {
	t.Helper()
	for name, want := range map[string]string{"etc/machine-id": "", "etc/resolv.conf": ""} {
		if b, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(b) != want {
			t.Errorf("%s = %q, %v; want %q", name, b, err, want)
		}
	}
	for _, name := range []string{
		"sbin/init", "usr/bin/dbus-daemon", "etc/chrony/conf.d/test.conf",
		"etc/systemd/system/multi-user.target.wants/chrony.service", "lib/modules",
	} {
		if _, err := os.Lstat(filepath.Join(tree, name)); err != nil {
			t.Error(err)
		}
	}
	for _, pattern := range []string{"etc/hostname", "etc/network/interfaces", "boot/initrd*", "boot/vmlinuz*", "etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*Packages*"} {
		if found, _ := filepath.Glob(filepath.Join(tree, pattern)); len(found) > 0 {
			t.Errorf("the image has %v", found)
		}
	}
	for _, unit := range []string{"apt-daily.timer", "systemd-networkd.service"} {
		if target, err := os.Readlink(filepath.Join(tree, "etc/systemd/system", unit)); err != nil || target != "/dev/null" {
			t.Errorf("%s is not masked: %q, %v", unit, target, err)
		}
	}
	// A service that the recipe asks for is not masked, though it is on the list.
	if _, err := os.Lstat(filepath.Join(tree, "etc/systemd/system/chrony.service")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("chrony is masked: %v", err)
	}
	shadow, err := os.ReadFile(filepath.Join(tree, "etc/shadow"))
	if err != nil || !strings.Contains("\n"+string(shadow), "\nroot:*:") {
		t.Errorf("root is not locked: %q, %v", shadow, err)
	}
	if info, err := os.Stat(filepath.Join(tree, "usr/bin/su")); err != nil || info.Mode()&fs.ModeSetuid == 0 {
		t.Errorf("su lost its setuid bit: %v, %v", info, err)
	}
}

// checkNICs looks for the drivers without which the usual servers do not boot.
func checkNICs(t *testing.T, tree string, img Image) {
	t.Helper()
	m, err := readModules(os.DirFS(filepath.Join(tree, "usr/lib/modules", img.Kernel)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range m.choose(wantedModules(img.Flavour)) {
		names = append(names, moduleName(file))
	}
	want := []string{"virtio_net", "virtio_pci", "vmxnet3", "ena", "hv_netvsc", "af_packet", "nfsv3", "nfsv4", "overlay", "squashfs", "sunrpc", "lockd", "grace"}
	if img.Flavour == KernelFull {
		want = append(want, "e1000", "e1000e", "igb", "ixgbe", "i40e", "ice", "bnxt_en", "mlx5_core", "tg3", "r8169", "realtek", "bnx2x", "ipv6", "xhci_pci")
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "usr/lib/modules", img.Kernel, "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(builtin)) {
		names = append(names, moduleName(strings.TrimSpace(line)))
	}
	for _, w := range want {
		if !slices.Contains(names, w) {
			t.Errorf("%s: the initrd has no %s", img.Kernel, w)
		}
	}
}
