package httpboot

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

// debianKernel gives a kernel and its unpacked package: Debian's cloud kernel, downloaded with apt-get
// once and kept in the user's cache.
func debianKernel(t *testing.T) (vmlinuz, release, root string) {
	t.Helper()
	needsTool(t, "apt-get")
	needsTool(t, "dpkg-deb")
	needsTool(t, "depmod")
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "muster-test", "kernel")
	find := func() bool {
		m, _ := filepath.Glob(dir + "/boot/vmlinuz-*")
		if len(m) != 1 {
			return false
		}
		vmlinuz, release, root = m[0], strings.TrimPrefix(filepath.Base(m[0]), "vmlinuz-"), dir
		return true
	}
	if find() {
		return
	}
	out, err := exec.Command("apt-cache", "depends", "--important", "linux-image-cloud-amd64").Output()
	_, pkg, ok := strings.Cut(string(out), "Depends: ")
	if err != nil || !ok {
		t.Skip("needs linux-image-cloud-amd64: apt-cache does not know it")
	}
	tmp := t.TempDir()
	get := exec.Command("apt-get", "download", strings.TrimSpace(pkg))
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("apt-get download: %v\n%s", err, out)
	}
	debs, _ := filepath.Glob(tmp + "/*.deb")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "-x", debs[0], part).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	mods, _ := filepath.Glob(part + "/lib/modules/*")
	if out, err := exec.Command("depmod", "-b", part, filepath.Base(mods[0])).CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	if os.Rename(part, dir) != nil { // another test run was first
		os.RemoveAll(part)
	}
	if !find() {
		t.Fatal("no kernel in ", dir)
	}
	return
}

// bootModules are what a virtual machine needs to come up over NFS, with what they depend on.
var bootModules = []string{"virtio_pci", "virtio_net", "nfs", "nfsv3", "overlay"}

// makeInitrd writes an initrd with muster-init and modules.
func makeInitrd(t *testing.T, file, release, root string) {
	t.Helper()
	init := filepath.Join(t.TempDir(), "muster-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "muster/cmd/muster-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir := "lib/modules/" + release
	recs := map[string]cpio.Record{}
	put := func(r cpio.Record) {
		recs[r.Name] = r
		for d := filepath.Dir(r.Name); d != "."; d = filepath.Dir(d) {
			recs[d] = cpio.Directory(d, 0o755)
		}
	}
	add := func(name, src string) {
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		put(cpio.StaticFile(name, string(b), 0o755))
	}
	add("init", init)
	put(cpio.CharDev("dev/console", 0o600, 5, 1))
	put(cpio.CharDev("dev/null", 0o666, 1, 3))
	for _, idx := range []string{"modules.dep", "modules.alias", "modules.softdep"} {
		add(dir+"/"+idx, filepath.Join(root, dir, idx))
	}
	deps, err := os.ReadFile(filepath.Join(root, dir, "modules.dep"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(deps)) {
		mod, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		if slices.Contains(bootModules, strings.TrimSuffix(filepath.Base(mod), ".ko")) {
			for _, m := range append(strings.Fields(rest), mod) {
				add(dir+"/"+m, filepath.Join(root, dir, m))
			}
		}
	}
	writeCPIO(t, file, recs)
}

// writeCPIO writes records by name, so that a directory comes before what is in it.
func writeCPIO(t *testing.T, file string, recs map[string]cpio.Record) {
	t.Helper()
	var all []cpio.Record
	for _, r := range recs {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b cpio.Record) int { return cmp.Compare(a.Name, b.Name) })
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, all); err != nil {
		t.Fatal(err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
}
