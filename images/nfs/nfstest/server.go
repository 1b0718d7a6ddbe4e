package nfstest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// runTimeout bounds the tests in a server's machine, which take seconds.
const runTimeout = 3 * time.Minute

// RunInMachine runs the calling test once more in a virtual machine whose kernel has nfsd, as root and with
// the tools of nfs-kernel-server, which this machine needs not have. The test tells by InMachine where it is.
// There TMPDIR is on ext4, /dev/vdb has an empty ext4 of its own, and Run meets a client in a second machine.
func RunInMachine(t *testing.T) {
	t.Helper()
	kernel, initrd := bootFiles(t)
	dir := t.TempDir()
	extended := filepath.Join(dir, "initrd")
	if err := extend(extended, initrd); err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(dir, "said")
	args := []string{"-m", "1024", "-kernel", kernel, "-initrd", extended, "-serial", "file:" + said,
		"-append", fmt.Sprintf("console=ttyS0 quiet panic=-1 nfstest.address=%s/24 nfstest.run=^%s$", serverAddress, t.Name()),
		"-netdev", cable(dir, "server", "client"), "-device", "virtio-net-pci,netdev=n,romfile=,mac=52:54:00:6e:66:01"}
	for _, size := range []string{"256M", "32M"} {
		disk := filepath.Join(dir, size)
		command(t, exec.Command("truncate", "-s", size, disk))
		command(t, exec.Command("mkfs.ext4", "-q", "-F", disk))
		args = append(args, "-drive", "if=virtio,format=raw,cache=unsafe,file="+disk)
	}
	ended := start(t, "server", args...)
	startClient(t, kernel, initrd, fmt.Sprintf("%s:%d", serverAddress, servePort), cable(dir, "client", "server"))
	select {
	case <-ended:
	case <-time.After(runTimeout):
		t.Errorf("the tests did not end within %s", runTimeout)
	}
	b, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	out := strings.ReplaceAll(string(b), "\r", "")
	t.Logf("in the machine:\n%s", out)
	if !strings.HasSuffix(out, "\nexit 0\n") {
		t.Error("the tests in the machine failed")
	}
}

// cable is one end of a cable between two machines.
func cable(dir, local, remote string) string {
	return fmt.Sprintf("dgram,id=n,local.type=unix,local.path=%s/%s,remote.type=unix,remote.path=%s/%s", dir, local, dir, remote)
}

// serverPrograms are what runs in a server's machine besides the test binary: with their libraries they come
// from this machine, those of nfs-kernel-server from its package.
var (
	serverPrograms = []string{"/usr/sbin/exportfs", "/usr/sbin/rpc.nfsd", "/usr/sbin/rpc.mountd"}
	hostPrograms   = []string{"/bin/sh", "/sbin/rpcbind"}
	hostFiles      = []string{"/etc/netconfig", "/etc/protocols", "/etc/services", "/etc/rpc"}
	// serverModules, with those that they need.
	serverModules = []string{"nfsd.ko", "virtio_blk.ko", "ext4.ko", "crc32c_generic.ko"}
)

// extend writes an initrd that has a server's files as well: the kernel unpacks one archive after the other.
func extend(target, initrd string) error {
	// Built anew: static, and without the race detector, which takes half as long again in an emulated machine.
	test := initrd + ".test"
	build := exec.Command("go", "test", "-c", "-o", test, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := output(build); err != nil {
		return err
	}
	var a archive
	a.add("/test", test)
	tools, err := serverTree()
	if err != nil {
		return err
	}
	for _, p := range serverPrograms {
		a.add(p, filepath.Join(tools, p))
		a.libraries(filepath.Join(tools, p))
	}
	for _, p := range hostPrograms {
		a.add(p, p)
		a.libraries(p)
	}
	for _, f := range hostFiles {
		a.add(f, f)
	}
	a.text("/etc/passwd", "root:x:0:0::/:/bin/sh\n_rpc:x:101:65534::/run/rpcbind:/bin/false\nnobody:x:65534:65534::/:/bin/false\n")
	a.text("/etc/nsswitch.conf", "passwd: files\nservices: files\nnetgroup: files\n")
	a.text("/etc/hosts", "127.0.0.1 localhost\n")
	a.text("/etc/exports", "")
	// As Debian has them: mountd reads the one, the kernel looks for rpcbind's socket in the other.
	a.records = append(a.records, cpio.Symlink("etc/mtab", "../proc/self/mounts"), cpio.Symlink("var/run", "/run"))
	a.text("/var/lib/nfs/etab", "")
	a.text("/var/lib/nfs/rmtab", "")
	a.text("/var/lib/nfs/v4recovery/.keep", "")
	a.modules()
	if a.err != nil {
		return a.err
	}
	return a.write(target, initrd)
}

// archive collects files. err is the first fault.
type archive struct {
	records []cpio.Record
	has     map[string]bool
	err     error
}

// put adds a file, after the directories that it is in.
func (a *archive) put(name string, b []byte, mode uint64) {
	name = strings.TrimPrefix(filepath.Clean(name), "/")
	if a.has == nil {
		a.has = map[string]bool{}
	}
	for i, r := range name {
		if dir := name[:i]; r == '/' && !a.has[dir] {
			a.has[dir] = true
			a.records = append(a.records, cpio.Directory(dir, 0o755))
		}
	}
	if !a.has[name] {
		a.has[name] = true
		a.records = append(a.records, cpio.StaticFile(name, string(b), mode))
	}
}

func (a *archive) text(name, content string) { a.put(name, []byte(content), 0o644) }

// add adds a file of this machine under a name.
func (a *archive) add(name, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		if a.err == nil {
			a.err = err
		}
		return
	}
	a.put(name, b, 0o755)
}

// libraries adds what a program is linked with.
func (a *archive) libraries(program string) {
	if p, err := filepath.EvalSymlinks(program); err == nil {
		program = p
	}
	out, err := exec.Command("ldd", program).CombinedOutput()
	if bytes.Contains(out, []byte("not a dynamic executable")) {
		return
	}
	if err != nil || bytes.Contains(out, []byte("not found")) {
		a.err = fmt.Errorf("ldd %s: %w\n%s", program, err, out)
	}
	for _, f := range strings.Fields(string(out)) {
		if strings.HasPrefix(f, "/") {
			a.add(f, f)
		}
	}
}

// modules adds serverModules, those that they need, and the index of all.
func (a *archive) modules() {
	tree, err := kernelTree()
	if err != nil {
		a.err = err
		return
	}
	release, err := onlyName(filepath.Join(tree, "usr/lib/modules"))
	if err != nil {
		a.err = err
		return
	}
	dir := filepath.Join(tree, "usr/lib/modules", release)
	base := "lib/modules/" + release
	index, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		a.err = err
		return
	}
	a.put(base+"/modules.dep", index, 0o644)
	lines := bufio.NewScanner(bytes.NewReader(index))
	for lines.Scan() {
		file, deps, _ := strings.Cut(lines.Text(), ":")
		if slices.Contains(serverModules, filepath.Base(file)) {
			for _, f := range append(strings.Fields(deps), file) {
				a.add(filepath.Join(base, f), filepath.Join(dir, f))
			}
		}
	}
}

// write writes the first archive and then ours.
func (a *archive) write(target, first string) error {
	b, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	var ours bytes.Buffer
	w := cpio.Newc.Writer(&ours)
	if err := cpio.WriteRecords(w, a.records); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	f, err := os.Create(target)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.MultiReader(bytes.NewReader(b), &ours))
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
