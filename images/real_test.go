package images

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// realBuilder builds with mmdebstrap, Debian's packages and the real agent.
func realBuilder(t *testing.T) *Builder {
	t.Helper()
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
	return &Builder{Catalog: &Catalog{Dir: filepath.Join(dir, "images")}, Cache: filepath.Join(dir, "cache"), Agent: agent}
}

// TestRealImages builds for both kernels and of two suites, at the same time and with one package cache. The small
// one is built twice: it must be the same image.
func TestRealImages(t *testing.T) {
	b := realBuilder(t)
	overlay := fstest.MapFS{"etc/chrony/conf.d/test.conf": {Data: []byte("allow\n"), Mode: 0o444}}
	for name, test := range map[string]struct {
		recipe Recipe
		budget int64 // for the whole initrd, agent included: what a machine of a boot storm fetches
	}{
		"cloud":  {Recipe{Kernel: KernelCloud}, 5 << 20},
		"full":   {Recipe{Kernel: KernelFull, Sources: []string{"deb http://deb.debian.org/debian bookworm " + nonFree}}, 40 << 20},
		"trixie": {Recipe{Kernel: KernelCloud, Suite: "trixie"}, 5 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.recipe.Packages, test.recipe.Services = []string{"chrony"}, []string{"chrony.service"}
			build := func() Image {
				t.Helper()
				img, err := b.Build(t.Context(), name, test.recipe, Options{Overlays: []fs.FS{overlay}})
				if err != nil {
					logs, _ := filepath.Glob(filepath.Join(b.Catalog.Dir, name, "build-*.log"))
					for _, l := range logs {
						log, _ := os.ReadFile(l)
						t.Logf("%s:\n%s", l, tail(string(log)))
					}
					t.Fatal(err)
				}
				return img
			}
			img := build()
			if img.InitrdSize > test.budget {
				t.Errorf("the initrd has %d bytes, budget %d", img.InitrdSize, test.budget)
			}
			t.Logf("%s: initrd %d bytes, tree %d", img.Kernel, img.InitrdSize, img.Size)
			if strings.Contains(img.Kernel, "cloud") != (test.recipe.Kernel == KernelCloud) || img.Flavour != test.recipe.Kernel {
				t.Errorf("kernel %s, flavour %s", img.Kernel, img.Flavour)
			}
			if problems, err := b.Catalog.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
				t.Errorf("Verify = %v, %v", problems, err)
			}
			checkTree(t, filepath.Join(img.Dir, TreeDir))
			checkNICs(t, filepath.Join(img.Dir, TreeDir), img)
			switch name {
			case "full":
				checkMachine(t, img)
			case "cloud":
				times := modTimes(t, img.Dir)
				again := build()
				if again.Digest != img.Digest {
					diff, _ := exec.Command("diff", filepath.Join(img.Dir, ManifestFile), filepath.Join(again.Dir, ManifestFile)).Output()
					t.Errorf("built again, it is another image:\n%s", diff)
				}
				if d := cmp.Diff(times, modTimes(t, again.Dir)); d != "" {
					t.Errorf("built again, its files have other times:\n%s", d)
				}
			}
		})
	}
}

// checkMachine looks for what physical machines need: microcode in front, and firmware.
func checkMachine(t *testing.T, img Image) {
	t.Helper()
	initrd, err := os.ReadFile(filepath.Join(img.Dir, InitrdFile))
	must(t, err)
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(initrd)))
	must(t, err)
	var early []string
	for _, r := range records {
		early = append(early, strings.TrimRight(r.Name, "\x00"))
	}
	for _, want := range []string{"kernel/x86/microcode/AuthenticAMD.bin", "kernel/x86/microcode/GenuineIntel.bin"} {
		if !slices.Contains(early, want) {
			t.Errorf("the initrd begins with %q, and lacks %s", early, want)
		}
	}
	begin := 0
	for begin%initrdAlign != 0 || begin == 0 {
		next := bytes.Index(initrd[begin+1:], []byte("\x28\xb5\x2f\xfd"))
		if next < 0 {
			t.Fatal("nothing compressed follows the microcode")
		}
		begin += 1 + next
	}
	z, err := zstd.NewReader(bytes.NewReader(bytes.TrimRight(initrd[begin:], "\x00")))
	must(t, err)
	defer z.Close()
	plain, err := io.ReadAll(z)
	must(t, err)
	// Archives lie behind one another.
	records = nil
	for rest := plain; len(bytes.TrimLeft(rest, "\x00")) > 0; {
		end := bytes.Index(rest, []byte("TRAILER!!!"))
		if end < 0 {
			t.Fatalf("%d bytes behind the last archive", len(rest))
		}
		more, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(rest)))
		must(t, err)
		records = append(records, more...)
		rest = rest[end+len("TRAILER!!!"):]
		rest = bytes.TrimLeft(rest, "\x00")
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	all := strings.Join(names, "\n")
	for _, want := range []string{"\ninit\n", "lib/firmware/bnx2/", "lib/firmware/bnx2x/", "lib/firmware/qed/", "lib/firmware/netronome/", "lib/firmware/rtl_nic/", "/e1000e.ko"} {
		if !strings.Contains(all, want) {
			t.Errorf("the initrd lacks %q", want)
		}
	}
	log, err := os.ReadFile(filepath.Join(img.Dir, LogFile))
	must(t, err)
	if strings.Contains(string(log), noMicrocode) || strings.Contains(string(log), addNonFree) || strings.Contains(string(log), " bnx2, ") {
		t.Error("the log tells that firmware or microcode is missing")
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
