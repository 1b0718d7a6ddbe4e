package images_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"muster/images"
	"muster/images/oci"
	"muster/images/rootfs"
)

// TestRealImport makes a container image of Debian, as it is in every registry: without kernel, init and udev; and
// of that an image that boots, by one line of the recipe.
func TestRealImport(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes other users' files")
	}
	for _, tool := range []string{"mmdebstrap", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	dir := t.TempDir()
	agent, base := filepath.Join(dir, "muster-init"), filepath.Join(dir, "base.tar")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "muster/cmd/muster-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	run(t, exec.Command("mmdebstrap", "--mode=root", "--variant=apt", "--aptopt=Acquire::Languages \"none\"", "bookworm", base))
	from, digest := container(t, filepath.Join(dir, "layout"), base)

	b := &images.Builder{
		Catalog: &images.Catalog{Dir: filepath.Join(dir, "images")}, Cache: filepath.Join(dir, "cache"), Agent: agent,
		Sources: map[string]images.Source{"oci-layout": oci.Layout{}, "tar": rootfs.Tar{}},
	}
	_, err := b.Build(t.Context(), "box", images.Recipe{From: "tar:" + base}, images.Options{})
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), `it lacks a kernel (/boot/vmlinuz-*); an init (/sbin/init); "kernel: full"`) {
		t.Errorf("without a kernel: %v", err)
	}
	img, err := b.Build(t.Context(), "box", images.Recipe{From: from, Kernel: images.KernelCloud, Packages: []string{"netcat-openbsd"}}, images.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(t, filepath.Join(b.Catalog.Dir, "box")))
	}
	if !strings.Contains(img.Kernel, "-cloud-") || img.Flavour != images.KernelCloud || img.From != "oci-layout:"+filepath.Join(dir, "layout")+"@"+digest {
		t.Errorf("the image is %+v", img)
	}
	if img.InitrdSize > 5<<20 || img.InitrdSize < 1<<20 || img.KernelSize < 1<<20 {
		t.Errorf("kernel %d bytes, initrd %d", img.KernelSize, img.InitrdSize)
	}
	if problems, err := b.Catalog.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	tree := filepath.Join(img.Dir, images.TreeDir)
	for name, there := range map[string]bool{
		"usr/sbin/init": true, "usr/lib/systemd/systemd-udevd": true, "usr/bin/dbus-daemon": true, "usr/bin/nc.openbsd": true,
		"usr/lib/modules/" + img.Kernel + "/modules.dep": true, "etc/marker": true, "usr/share/keyrings/debian-archive-keyring.gpg": true,
		"usr/share/common-licenses/BSD": false, "usr/sbin/policy-rc.d": false, "boot/vmlinuz-" + img.Kernel: false, "etc/hostname": false,
	} {
		if _, err := os.Lstat(filepath.Join(tree, name)); (err == nil) != there {
			t.Errorf("%s: there %t, want %t", name, err == nil, there)
		}
	}
	if info, err := os.Stat(filepath.Join(tree, "usr/bin/su")); err != nil || info.Mode()&fs.ModeSetuid == 0 {
		t.Errorf("su lost its setuid bit: %v, %v", info, err)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "etc/apt/sources.list")); err != nil || !strings.Contains(string(b), " bookworm main") {
		t.Errorf("sources.list is %q, %v", b, err)
	}
	if left, _ := filepath.Glob(filepath.Join(img.Dir, "apt*")); len(left) > 0 {
		t.Errorf("the build left %v", left)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("the build left a mount, %v", err)
	}
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
}

// tail is the end of the last build's log.
func tail(t *testing.T, dir string) string {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	if len(logs) == 0 {
		return "no log"
	}
	b, err := os.ReadFile(logs[len(logs)-1])
	if err != nil {
		t.Error(err)
	}
	return string(b[max(0, len(b)-4000):])
}

// container makes a layout of a root's archive and a second layer that adds a file and removes another one, as a
// Dockerfile would.
func container(t *testing.T, dir, base string) (from, digest string) {
	t.Helper()
	b, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	w := tar.NewWriter(&second)
	for _, name := range []string{"etc/marker", "usr/share/common-licenses/.wh.BSD"} {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(b, types.OCIUncompressedLayer), static.NewLayer(second.Bytes(), types.OCIUncompressedLayer))
	if err == nil {
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "debian"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("oci-layout:%s:debian", dir), h.String()
}
