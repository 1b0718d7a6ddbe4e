package images

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeDebstrap is mmdebstrap for tests: it finds the tree among its arguments (the only absolute path that
// is one), and then runs the body.
const fakeDebstrap = `#!/bin/sh
for a; do case $a in /*) tree=$a ;; esac; done
echo "I: downloading packages with apt..."
mkdir -p "$tree/etc" "$tree/usr/lib/modules/6.1.0-1-cloud-amd64/kernel" "$tree/boot" "$tree/var/cache/apt/archives"
`

// finishTree makes the least that a tree must have.
const finishTree = `
echo 'root:$y$secret:1::::::' >"$tree/etc/shadow"
echo 'ID=debian' >"$tree/usr/lib/os-release"
echo build-host >"$tree/etc/hostname"
echo 1234 >"$tree/etc/machine-id"
echo deb >"$tree/var/cache/apt/archives/nginx_1_amd64.deb"
echo kernel >"$tree/boot/vmlinuz-6.1.0-1-cloud-amd64"
echo module >"$tree/usr/lib/modules/6.1.0-1-cloud-amd64/kernel/nfs.ko"
echo 'kernel/nfs.ko:' >"$tree/usr/lib/modules/6.1.0-1-cloud-amd64/modules.dep"
`

// testBuilder is a Builder around a fake mmdebstrap.
func testBuilder(t *testing.T, body string) *Builder {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: building makes namespaces")
	}
	dir := t.TempDir()
	b := &Builder{
		Catalog: &Catalog{Dir: filepath.Join(dir, "images")}, Cache: filepath.Join(dir, "cache"),
		Agent: filepath.Join(dir, "agent"), Mmdebstrap: filepath.Join(dir, "mmdebstrap"), Etc: fstest.MapFS{},
	}
	must(t, os.WriteFile(b.Agent, []byte("agent"), 0o755))
	must(t, os.WriteFile(b.Mmdebstrap, []byte(fakeDebstrap+body), 0o755))
	return b
}

// leftovers lists what a build that failed must not leave.
func leftovers(t *testing.T, b *Builder) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{partialPrefix + "*", "[0-9]*", currentLink} {
		found, err := filepath.Glob(filepath.Join(b.Catalog.Dir, "web", pattern))
		must(t, err)
		all = append(all, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, b.Catalog.Dir) {
			all = append(all, "mount "+line)
		}
	}
	return all
}

func TestBuildPublishes(t *testing.T) {
	b := testBuilder(t, finishTree)
	var last Progress
	percent := 0
	img, err := b.Build(t.Context(), "web", Recipe{Kernel: KernelCloud, Epoch: 19000 * 86400}, Options{
		Overlays: []fs.FS{fstest.MapFS{"etc/motd": {Data: []byte("hi"), Mode: 0o444}}},
		Progress: func(p Progress) {
			if p.Percent < percent {
				t.Errorf("progress fell from %d to %d", percent, p.Percent)
			}
			percent, last = p.Percent, p
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.Stage != StageDone || last.Percent != 100 {
		t.Errorf("the last progress is %+v", last)
	}
	found, err := b.Catalog.Find(Ref{Name: "web"})
	if err != nil || found != img || found.Kernel != "6.1.0-1-cloud-amd64" || found.Ref.Version != 1 {
		t.Errorf("Find = %+v, %v; Build gave %+v", found, err, img)
	}
	if problems, err := b.Catalog.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	tree := filepath.Join(img.Dir, TreeDir)
	for name, want := range map[string]string{"etc/machine-id": "", "etc/motd": "hi", "etc/shadow": "root:*:19000::::::\n", "usr/lib/os-release": "ID=debian\nIMAGE_ID=web\n"} {
		if got, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, gone := range []string{"etc/hostname", "boot/vmlinuz-6.1.0-1-cloud-amd64", "var/cache/apt/archives/nginx_1_amd64.deb"} {
		if _, err := os.Lstat(filepath.Join(tree, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the image has %s", gone)
		}
	}
	if _, err := os.Stat(filepath.Join(b.Cache, "archives/nginx_1_amd64.deb")); err != nil {
		t.Errorf("the package is not in the cache: %v", err)
	}
}

// A machine's image without firmware and microcode says so, and that of a virtual one does not.
func TestMissingFirmwareIsTold(t *testing.T) {
	for flavour, told := range map[string]bool{KernelFull: true, KernelCloud: false} {
		b := testBuilder(t, finishTree+"printf 'x\\0firmware=bnx2/x.fw\\0' >\"$tree/usr/lib/modules/6.1.0-1-cloud-amd64/kernel/nfs.ko\"\n")
		img, err := b.Build(t.Context(), "web", Recipe{Kernel: flavour}, Options{})
		must(t, err)
		log, err := os.ReadFile(filepath.Join(img.Dir, LogFile))
		must(t, err)
		if strings.Contains(string(log), noMicrocode) != told || strings.Contains(string(log), addNonFree) != told {
			t.Errorf("%s: told of microcode: %t", flavour, !told)
		}
		if !strings.Contains(string(log), "no firmware for the drivers nfs.") {
			t.Errorf("%s: the log does not tell of the driver:\n%s", flavour, log)
		}
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	// A process that left the session and holds a lock, as dpkg's children do, and a mount.
	b := testBuilder(t, `
mount -t tmpfs tmpfs "$tree/boot"
: >"$tree/../../../held"
setsid flock "$tree/../../../held" sh -c 'echo "I: extracting archives"; sleep 1000' &
wait
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := b.Build(ctx, "web", Recipe{}, Options{Progress: func(p Progress) {
		if p.Stage == StageBase {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Build = %v, want context.Canceled", err)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("a cancelled build left %q", left)
	}
	if _, err := os.Stat(filepath.Join(b.Catalog.Dir, "web/build-1.log")); err != nil {
		t.Errorf("the log is gone: %v", err)
	}
	// The lock is free when its last holder is dead. Killing is quick; the wait is for a busy machine.
	f, err := os.Open(filepath.Join(b.Catalog.Dir, "held"))
	must(t, err)
	defer f.Close()
	deadline := time.Now().Add(time.Minute)
	for unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		if time.Now().After(deadline) {
			t.Fatal("a process of the build lives on")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestBuildFailsWithOneSentence(t *testing.T) {
	b := testBuilder(t, "echo 'E: Unable to locate package nginx-lite' >&2; exit 25")
	_, err := b.Build(t.Context(), "web", Recipe{Packages: []string{"nginx-lite"}}, Options{})
	if err == nil {
		t.Fatal("it succeeded")
	}
	for _, part := range []string{"web", "Unable to locate package nginx-lite", "build-1.log"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not tell %q", err, part)
		}
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("a failed build left %q", left)
	}
}

func TestBuildToolsAreCheckedFirst(t *testing.T) {
	b := testBuilder(t, "")
	b.Mmdebstrap, b.Agent = "no-such-mmdebstrap", filepath.Join(t.TempDir(), "none")
	_, err := b.Build(t.Context(), "web", Recipe{}, Options{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "apt-get install mmdebstrap") || !strings.Contains(err.Error(), "muster-init") {
		t.Errorf("Build = %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.Catalog.Dir, "web")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a build that cannot start made the image's directory (%v)", err)
	}
}

func TestTwoBuildsOfOneNameAreRefused(t *testing.T) {
	b := testBuilder(t, finishTree)
	inner := errors.New("not called")
	_, err := b.Build(t.Context(), "web", Recipe{}, Options{Progress: func(p Progress) {
		if p.Stage == StageTree {
			_, inner = b.Build(t.Context(), "web", Recipe{}, Options{})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(inner, fs.ErrExist) {
		t.Errorf("the second build: %v, want ErrExist", inner)
	}
}

func TestOldLogsGo(t *testing.T) {
	b := testBuilder(t, "exit 1")
	for range logsKept + 3 {
		if _, err := b.Build(t.Context(), "web", Recipe{}, Options{}); err == nil {
			t.Fatal("it succeeded")
		}
	}
	logs, err := filepath.Glob(filepath.Join(b.Catalog.Dir, "web/build-*.log"))
	if err != nil || len(logs) != logsKept {
		t.Errorf("%d logs, %v; want %d", len(logs), err, logsKept)
	}
}
