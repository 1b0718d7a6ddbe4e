package images

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// testModules is a small kernel: a NIC with a dependency, a PHY by softdep, firmware, and a driver for
// something that no node boots from.
func testModules() fstest.MapFS {
	f := fstest.MapFS{
		"modules.dep": {Data: []byte("kernel/drivers/net/ethernet/realtek/r8169.ko: kernel/lib/mii.ko\n" +
			"kernel/lib/mii.ko:\nkernel/drivers/net/phy/realtek.ko:\nkernel/fs/nfs/nfsv3.ko: kernel/fs/nfs/nfs.ko\n" +
			"kernel/fs/nfs/nfs.ko:\nkernel/drivers/net/virtio_net.ko:\nkernel/sound/snd.ko:\nkernel/fs/overlayfs/overlay.ko:\n" +
			"kernel/crypto/crc32c-intel.ko:\n")},
		"modules.alias":   {Data: []byte("# Aliases\nalias pci:v000010ECd00008168* r8169\nalias virtio:d00000001v* virtio_net\nalias snd-card-* snd\n")},
		"modules.softdep": {Data: []byte("softdep nfs pre: overlay\nsoftdep snd pre: mii\n")},
		"modules.builtin": {Data: []byte("kernel/net/ipv6/ipv6.ko\n")},
	}
	for line := range strings.Lines(string(f["modules.dep"].Data)) {
		name, _, _ := strings.Cut(line, ":")
		f[name] = &fstest.MapFile{Data: []byte("module " + name)}
	}
	f["kernel/drivers/net/ethernet/realtek/r8169.ko"].Data = []byte("\x7fELF\x00firmware=rtl_nic/one.fw\x00x\x00firmware=rtl_nic/absent.fw\x00firmware=../../etc/shadow\x00")
	f["kernel/drivers/net/virtio_net.ko"].Data = []byte("\x7fELF\x00firmware=absent.fw\x00")
	return f
}

func TestChooseTakesDependencies(t *testing.T) {
	m, err := readModules(testModules())
	must(t, err)
	cloud := []string{
		"kernel/crypto/crc32c-intel.ko", "kernel/drivers/net/virtio_net.ko", "kernel/fs/nfs/nfs.ko",
		"kernel/fs/nfs/nfsv3.ko", "kernel/fs/overlayfs/overlay.ko",
	}
	if d := cmp.Diff(cloud, m.choose(wantedModules(KernelCloud))); d != "" {
		t.Error(d)
	}
	full := append(slices.Clone(cloud), "kernel/drivers/net/ethernet/realtek/r8169.ko", "kernel/drivers/net/phy/realtek.ko", "kernel/lib/mii.ko")
	slices.Sort(full)
	if d := cmp.Diff(full, m.choose(wantedModules(KernelFull))); d != "" {
		t.Error(d)
	}
}

// xzOf and zstdOf compress as Debian does.
func xzOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	must(t, err)
	_, err = w.Write(b)
	must(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

func zstdOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	must(t, err)
	_, err = w.Write(b)
	must(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

// The agent and the kernel find modules and firmware plain, under their own names, however they are stored.
func TestInitrdOfCompressedFiles(t *testing.T) {
	for suffix, compress := range map[string]func(*testing.T, []byte) []byte{".xz": xzOf, ".zst": zstdOf} {
		stored := testModules()
		for name, f := range testModules() {
			switch {
			case strings.HasSuffix(name, ".ko"):
				delete(stored, name)
				stored[name+suffix] = &fstest.MapFile{Data: compress(t, f.Data)}
			case name == "modules.dep":
				f.Data = []byte(strings.ReplaceAll(string(f.Data), ".ko", ".ko"+suffix))
				stored[name] = f
			}
		}
		plain, packed := archive(t, testModules(), fstest.MapFS{"rtl_nic/one.fw": {Data: []byte("fw")}}),
			archive(t, stored, fstest.MapFS{"rtl_nic/one.fw" + suffix: {Data: compress(t, []byte("fw"))}})
		if d := cmp.Diff(plain, packed); d != "" {
			t.Errorf("%s: the initrd differs from that of plain files:\n%s", suffix, d)
		}
		if packed["lib/firmware/rtl_nic/one.fw"] != "fw" {
			t.Errorf("%s: the firmware is %q", suffix, packed["lib/firmware/rtl_nic/one.fw"])
		}
	}
}

// archive gives the files of the full initrd.
func archive(t *testing.T, modules, firmware fstest.MapFS) map[string]string {
	t.Helper()
	m, err := readModules(modules)
	must(t, err)
	records, _, err := initrdRecords(m, firmware, "6.1", KernelFull)
	must(t, err)
	files := map[string]string{}
	for _, r := range records {
		if r.Mode&cpio.S_IFMT == cpio.S_IFREG {
			b := make([]byte, r.FileSize)
			_, _ = r.ReadAt(b, 0)
			files[r.Name] = string(b)
		}
	}
	return files
}

func TestDamagedAndUnknownModules(t *testing.T) {
	if _, err := readModules(fstest.MapFS{"modules.dep": {Data: []byte("kernel/a.ko.lz4:\n")}}); err == nil || !strings.Contains(err.Error(), "kernel/a.ko.lz4") {
		t.Errorf("readModules = %v", err)
	}
	m, err := readModules(fstest.MapFS{"modules.dep": {Data: []byte("kernel/fs/nfs.ko.xz:\n")}, "kernel/fs/nfs.ko.xz": {Data: []byte("no xz")}})
	must(t, err)
	if _, _, err := initrdRecords(m, fstest.MapFS{}, "6.1", KernelCloud); err == nil || !strings.Contains(err.Error(), "nfs.ko.xz") {
		t.Errorf("a damaged module: %v", err)
	}
}

func TestInitrd(t *testing.T) {
	m, err := readModules(testModules())
	must(t, err)
	fw := fstest.MapFS{"rtl_nic/one.fw": {Data: []byte("fw")}, "rtl_nic/two.fw": {Data: []byte("no")}}
	records, lacking, err := initrdRecords(m, fw, "6.1", KernelFull)
	must(t, err)
	if d := cmp.Diff([]string{"virtio_net"}, lacking); d != "" {
		t.Errorf("drivers without firmware: %s", d)
	}
	files := map[string]string{}
	seen := map[string]bool{".": true}
	for _, r := range withParents(records) {
		dir := r.Name[:max(0, strings.LastIndexByte(r.Name, '/'))]
		if dir != "" && !seen[dir] {
			t.Errorf("%s comes before its directory", r.Name)
		}
		seen[r.Name] = true
		if r.Mode&cpio.S_IFMT == cpio.S_IFREG {
			b := make([]byte, r.FileSize)
			_, _ = r.ReadAt(b, 0)
			files[r.Name] = string(b)
		}
	}
	for _, want := range []string{"lib/firmware/rtl_nic/one.fw", "lib/modules/6.1/kernel/lib/mii.ko", "etc/muster/modules"} {
		if _, has := files[want]; !has {
			t.Errorf("%s is missing", want)
		}
	}
	for _, not := range []string{"lib/firmware/rtl_nic/two.fw", "lib/modules/6.1/kernel/sound/snd.ko"} {
		if _, has := files[not]; has {
			t.Errorf("%s is there", not)
		}
	}
	if want := "alias pci:v000010ECd00008168* r8169\nalias virtio:d00000001v* virtio_net\n"; files["lib/modules/6.1/modules.alias"] != want {
		t.Errorf("modules.alias = %q, want %q", files["lib/modules/6.1/modules.alias"], want)
	}
	if want := "softdep nfs pre: overlay\n"; files["lib/modules/6.1/modules.softdep"] != want {
		t.Errorf("modules.softdep = %q, want %q", files["lib/modules/6.1/modules.softdep"], want)
	}
	if !strings.Contains(files["lib/modules/6.1/modules.dep"], "nfsv3.ko: kernel/fs/nfs/nfs.ko\n") || strings.Contains(files["lib/modules/6.1/modules.dep"], "snd") {
		t.Errorf("modules.dep = %q", files["lib/modules/6.1/modules.dep"])
	}
	for _, dev := range []string{"dev/console", "dev/null", "proc", "sys", "newroot"} {
		if !seen[dev] {
			t.Errorf("%s is missing", dev)
		}
	}
}

func TestPaddingKeepsTheStreamReadable(t *testing.T) {
	var out bytes.Buffer
	c := &countWriter{w: &out}
	z, err := zstd.NewWriter(c)
	must(t, err)
	_, err = z.Write([]byte("archive"))
	must(t, err)
	must(t, z.Close())
	must(t, c.pad())
	if out.Len()%initrdAlign != 0 || out.Len() == 0 {
		t.Errorf("length %d is no multiple of %d", out.Len(), initrdAlign)
	}
}

// zeros is a reader that never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A stranger's module that is small on the disk and endless in memory is an error, and not the end of Muster.
func TestCompressedFilesAreBounded(t *testing.T) {
	var bomb bytes.Buffer
	z, err := zstd.NewWriter(&bomb)
	must(t, err)
	_, err = io.CopyN(z, zeros{}, plainMax+1)
	must(t, err)
	must(t, z.Close())
	if b, err := readPlain(fstest.MapFS{"x.ko.zst": {Data: bomb.Bytes()}}, "x.ko.zst"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%d bytes became %d: %v, want ErrInvalid", bomb.Len(), len(b), err)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x.ko"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "x.ko"), plainMax+1))
	if b, err := readPlain(os.DirFS(dir), "x.ko"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a file gave %d bytes, %v, want ErrInvalid", len(b), err)
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo.ko"), 0o644))
	if _, err := readPlain(os.DirFS(dir), "fifo.ko"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a FIFO: %v, want ErrInvalid", err)
	}
}
