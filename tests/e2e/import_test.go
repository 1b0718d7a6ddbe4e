package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"muster/images"
	"muster/tests/rack"
)

const importYAML = `
roles:
- {name: ntp, image: clock}
pools:
- {name: ntp, role: ntp, size: {min: 1, max: 4}, addresses: 10.77.0.30-10.77.0.33, match: {firmware: [bios]}, priority: 20}
`

// TestImportedImage boots a machine from an image that was imported from a container: the root of a time server, in a
// layer, with its kernel.
func TestImportedImage(t *testing.T) {
	s := newSite(t)
	s.muster("image", "import", "clock", "oci-layout:"+s.container("ntp"), "--service", "chrony.service")
	declared := filepath.Join(s.dir, "import.yaml")
	write(t, declared, importYAML)
	s.muster("apply", "-f", declared)
	m := s.powerOn(rack.MachineSpec{Name: "clock", Firmware: rack.BIOS})
	n := s.waitReady(m.MAC().String(), "ntp-01")
	s.report("ntp-01", m)
	s.askTime(n.Address)
	if out := s.muster("node", "show", "ntp-01"); !strings.Contains(out, "clock:1") {
		t.Errorf("the machine runs something else:\n%s", out)
	}
}

// container makes an OCI layout of an image's root and kernel, and gives its directory.
func (s *site) container(name string) string {
	s.t.Helper()
	from := filepath.Join(s.dir, "data/images", name, "1")
	b, err := os.ReadFile(filepath.Join(from, images.ImageFile))
	if err != nil {
		s.t.Fatal(err)
	}
	var img images.Image
	if err := json.Unmarshal(b, &img); err != nil {
		s.t.Fatal(err)
	}
	layer := filepath.Join(s.dir, "layer.tar.zst")
	pack := exec.Command("tar", "-c", "-I", "zstd -1", "-f", layer, "--xattrs", "--xattrs-include=*", "--numeric-owner",
		"--transform", "s,^"+images.KernelFile+"$,boot/vmlinuz-"+img.Kernel+",", "-C", filepath.Join(from, images.TreeDir), ".", "-C", from, images.KernelFile)
	if out, err := pack.CombinedOutput(); err != nil {
		s.t.Fatalf("tar: %v: %s", err, out)
	}
	l, err := tarball.LayerFromFile(layer, tarball.WithMediaType(types.OCILayerZStd))
	if err != nil {
		s.t.Fatal(err)
	}
	container, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.dir, "layout")
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(container)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return dir
}
