package images

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/u-root/u-root/pkg/cpio"
)

// update is one of Intel's, of that size.
func update(signature byte, size int) []byte {
	b := bytes.Repeat([]byte{signature}, size)
	binary.LittleEndian.PutUint32(b, 1)
	binary.LittleEndian.PutUint32(b[28:], uint32(size-48))
	binary.LittleEndian.PutUint32(b[32:], uint32(size))
	return b
}

func TestMicrocode(t *testing.T) {
	one, two := update(1, 1024), update(2, 2048)
	records, err := microcodeRecords(fstest.MapFS{
		"intel-ucode/06-8f-04":               {Data: bytes.Join([][]byte{one, two}, nil)},
		"intel-ucode/06-8f-05":               {Data: one}, // the same again
		"intel-ucode/06-3f-02.initramfs":     {Data: []byte("of another kind")},
		"intel-ucode/README":                 {Data: []byte("no microcode")},
		"amd-ucode/microcode_amd.bin.xz":     {Data: xzOf(t, []byte("amd 1"))},
		"amd-ucode/microcode_amd_fam17h.bin": {Data: []byte("amd 2")},
		"amd-ucode/README":                   {Data: []byte("no microcode")},
	})
	must(t, err)
	got := map[string]string{}
	for _, r := range records {
		b := make([]byte, r.FileSize)
		_, _ = r.ReadAt(b, 0)
		got[r.Name] = string(b)
	}
	want := map[string]string{
		"kernel/x86/microcode/AuthenticAMD.bin": "amd 1amd 2",
		"kernel/x86/microcode/GenuineIntel.bin": "of another kind" + string(one) + string(two),
	}
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s has %d bytes, want %d", name, len(got[name]), len(w))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	if none, err := microcodeRecords(fstest.MapFS{}); err != nil || len(none) > 0 {
		t.Errorf("of nothing: %v, %v", none, err)
	}
}

func FuzzIntelUpdates(f *testing.F) {
	f.Add(update(1, 1024))
	f.Add(append(update(1, 1024), 1, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := bytes.Join(intelUpdates(b), nil); !bytes.Equal(got, b) {
			t.Errorf("%x became %x", b, got)
		}
	})
}

// The initrd of a machine begins with the microcode, plain, at a place where the kernel looks; cpio reads it, and
// zstd what is behind it.
func TestMicrocodeComesFirst(t *testing.T) {
	dir := t.TempDir()
	for name, f := range testModules() {
		name = filepath.Join(dir, "usr/lib/modules/6.1", name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, 0o644))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "usr/lib/firmware/intel-ucode"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "usr/lib/firmware/intel-ucode/06-8f-04"), update(1, 1024), 0o644))
	agent := filepath.Join(dir, "agent")
	must(t, os.WriteFile(agent, []byte("agent"), 0o755))
	for flavour, first := range map[string]string{KernelFull: "070701", KernelCloud: "\x28\xb5\x2f\xfd"} {
		var out bytes.Buffer
		must(t, WriteInitrd(&out, dir, "6.1", flavour, agent))
		if !strings.HasPrefix(out.String(), first) {
			t.Errorf("%s: the initrd begins with %q", flavour, out.Bytes()[:16])
		}
		if flavour != KernelFull {
			continue
		}
		r := cpio.Newc.Reader(bytes.NewReader(out.Bytes()))
		records, err := cpio.ReadAllRecords(r)
		must(t, err)
		var names []string
		for _, rec := range records {
			names = append(names, strings.TrimRight(rec.Name, "\x00"))
		}
		if got := strings.Join(names, " "); got != "kernel kernel/x86 kernel/x86/microcode kernel/x86/microcode/GenuineIntel.bin" {
			t.Errorf("the plain archive has %s", got)
		}
		if at := bytes.Index(out.Bytes(), update(1, 1024)); at%16 != 0 {
			t.Errorf("the microcode is at %d, no multiple of 16", at)
		}
		begin := bytes.Index(out.Bytes(), []byte("\x28\xb5\x2f\xfd"))
		if begin%initrdAlign != 0 {
			t.Errorf("the compressed archive begins at %d", begin)
		}
		if _, err := exec.LookPath("zstd"); err != nil {
			t.Skipf("needs zstd: %v", err)
		}
		cmd := exec.Command("zstd", "-dcq")
		cmd.Stdin = bytes.NewReader(bytes.TrimRight(out.Bytes()[begin:], "\x00"))
		if plain, err := cmd.Output(); err != nil || !bytes.Contains(plain, []byte("agent")) {
			t.Errorf("zstd: %d bytes, %v", len(plain), err)
		}
	}
}
