package images

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// sourceFunc is a Source.
type sourceFunc func(dir string) error

func (s sourceFunc) Fill(_ context.Context, what, dir string, o FillOptions) (string, error) {
	o.Progress(50, "half of it")
	return "test:" + what + "@1", s(dir)
}

// rootFile makes files in a directory: "name" is a directory when it ends with a slash, "name -> target" a link; all
// else is a file with a line in it.
func rootFile(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		name, target, link := strings.Cut(name, " -> ")
		path := filepath.Join(dir, name)
		switch {
		case link:
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		default:
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(name+"\n"), 0o755))
		}
	}
}

// putKernel makes a kernel that is told from a text, with the modules that a boot needs.
func putKernel(t *testing.T, dir, file, modules string) {
	t.Helper()
	kernel := make([]byte, 1024)
	copy(kernel[0x202:], "HdrS")
	rootFile(t, dir, file)
	must(t, os.WriteFile(filepath.Join(dir, file), kernel, 0o600))
	if modules == "" {
		return
	}
	rootFile(t, dir, modules+"/")
	names := []string{"kernel/fs/nfs/nfs.ko", "kernel/fs/overlayfs/overlay.ko", "kernel/net/packet/af_packet.ko", "kernel/drivers/net/virtio_net.ko"}
	var dep bytes.Buffer
	for _, n := range names {
		rootFile(t, filepath.Join(dir, modules), n)
		dep.WriteString(n + ":\n")
	}
	must(t, os.WriteFile(filepath.Join(dir, modules, "modules.dep"), dep.Bytes(), 0o644))
}

// putRoot makes a root that boots, of a system without apt.
func putRoot(t *testing.T, dir string) {
	t.Helper()
	rootFile(t, dir, "usr/sbin/init", "sbin -> usr/sbin", "etc/os-release")
	must(t, os.WriteFile(filepath.Join(dir, "etc/os-release"), []byte("ID=toy\nPRETTY_NAME=\"Toy 1\"\n"), 0o644))
	putKernel(t, dir, "boot/vmlinuz-6.1-toy", "usr/lib/modules/6.1-toy")
}

// importing is a Builder with a source test: that fills the root with fill.
func importing(t *testing.T, fill func(dir string)) *Builder {
	b := testBuilder(t, "exit 1")
	b.Sources = map[string]Source{"test": sourceFunc(func(dir string) error { fill(dir); return nil }), "tar": nil}
	return b
}

func TestImport(t *testing.T) {
	b := importing(t, func(dir string) { putRoot(t, dir) })
	img, err := b.Build(t.Context(), "web", Recipe{From: "test:it"}, Options{Overlays: []fs.FS{fstest.MapFS{"etc/motd": {Data: []byte("hi"), Mode: 0o444}}}})
	if err != nil {
		t.Fatal(err)
	}
	if img.From != "test:it@1" || img.Kernel != "6.1-toy" || img.Flavour != KernelFull || img.InitrdSize == 0 {
		t.Errorf("the image is %+v", img)
	}
	if problems, err := b.Catalog.Verify(t.Context(), img.Ref); err != nil || len(problems) > 0 {
		t.Errorf("Verify = %v, %v", problems, err)
	}
	for name, want := range map[string]string{"etc/motd": "hi", "etc/shadow": "root:*:::::::\n", "usr/lib/os-release": "ID=toy\nPRETTY_NAME=\"Toy 1\"\nIMAGE_ID=web\n"} {
		if got, err := os.ReadFile(filepath.Join(img.Dir, TreeDir, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"proc", "sys", "dev", "run", "tmp"} {
		if info, err := os.Stat(filepath.Join(img.Dir, TreeDir, name)); err != nil || !info.IsDir() {
			t.Errorf("/%s: %v, %v", name, info, err)
		}
	}
}

func TestImportPlaces(t *testing.T) {
	for name, test := range map[string]struct {
		fill func(dir string)
		want string
		kind string
	}{
		"a kernel beside its modules": {func(d string) { putKernel(t, d, "usr/lib/modules/6.9/vmlinuz", "usr/lib/modules/6.9") }, "6.9", KernelFull},
		"a /lib of its own":           {func(d string) { putKernel(t, d, "boot/vmlinuz-5.1", "lib/modules/5.1") }, "5.1", KernelFull},
		"both places": {func(d string) {
			putKernel(t, d, "usr/lib/modules/6.9/vmlinuz", "usr/lib/modules/6.9")
			putKernel(t, d, "boot/vmlinuz-6.9", "")
		}, "6.9", KernelFull},
		"a rescue kernel": {func(d string) {
			putKernel(t, d, "boot/vmlinuz-6.9", "usr/lib/modules/6.9")
			putKernel(t, d, "boot/vmlinuz-0-rescue-123", "")
		}, "6.9", KernelFull},
		"a cloud kernel, by its name": {func(d string) {
			putKernel(t, d, "boot/vmlinuz-6.1.0-9-cloud-amd64", "usr/lib/modules/6.1.0-9-cloud-amd64")
		}, "6.1.0-9-cloud-amd64", KernelCloud},
		"links that look like kernels": {func(d string) {
			putKernel(t, d, "boot/vmlinuz-6.9", "usr/lib/modules/6.9")
			rootFile(t, d, "boot/vmlinuz-old -> vmlinuz-6.9", "boot/vmlinuz-host -> /etc/shadow")
		}, "6.9", KernelFull},
	} {
		t.Run(name, func(t *testing.T) {
			b := importing(t, func(dir string) { rootFile(t, dir, "sbin/init"); test.fill(dir) })
			img, err := b.Build(t.Context(), "web", Recipe{From: "test:it"}, Options{})
			if err != nil || img.Kernel != test.want || img.Flavour != test.kind {
				t.Errorf("the image is %+v, %v; want kernel %s, %s", img, err, test.want, test.kind)
			}
		})
	}
}

func TestImportChoosesTheKernelAskedFor(t *testing.T) {
	fill := func(dir string) {
		rootFile(t, dir, "sbin/init")
		for _, rel := range []string{"6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-11-cloud-amd64"} {
			putKernel(t, dir, "boot/vmlinuz-"+rel, "usr/lib/modules/"+rel)
		}
	}
	for flavour, want := range map[string]string{KernelFull: "6.1.0-10-amd64", KernelCloud: "6.1.0-11-cloud-amd64"} {
		img, err := importing(t, fill).Build(t.Context(), "web", Recipe{From: "test:it", Kernel: flavour}, Options{})
		if err != nil || img.Kernel != want {
			t.Errorf("%s: kernel %s, %v; want %s", flavour, img.Kernel, err, want)
		}
	}
	_, err := importing(t, fill).Build(t.Context(), "web", Recipe{From: "test:it"}, Options{})
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "6.1.0-9-amd64, 6.1.0-10-amd64, 6.1.0-11-cloud-amd64") {
		t.Errorf("without a word about the kernel: %v", err)
	}
}

// putApt makes a root that has apt, by its looks.
func putApt(t *testing.T, dir string) {
	rootFile(t, dir, "usr/bin/dpkg", "usr/bin/apt-get", "var/lib/dpkg/status", "etc/os-release")
}

func TestImportNamesAllThatIsMissing(t *testing.T) {
	for name, test := range map[string]struct {
		fill   func(dir string)
		recipe Recipe
		says   []string
	}{
		"nothing there": {func(string) {}, Recipe{}, []string{"it lacks a kernel (/boot/vmlinuz-*); an init (/sbin/init); it has no apt"}},
		"a container": {func(d string) { putApt(t, d) }, Recipe{Services: []string{"nginx"}}, []string{
			"it lacks a kernel", "an init", "systemctl, to enable the services nginx", `"kernel: full" in the recipe`, "linux-image-amd64, systemd-sysv, systemd"}},
		"packages without apt": {func(d string) { putRoot(t, d) }, Recipe{Packages: []string{"nginx"}}, []string{"the packages nginx cannot be added", "has no apt"}},
		"no modules":           {func(d string) { rootFile(t, d, "sbin/init"); putKernel(t, d, "boot/vmlinuz-6", "") }, Recipe{}, []string{"it lacks the modules of its kernel 6;"}},
		"few modules": {func(d string) {
			putRoot(t, d)
			must(t, os.WriteFile(filepath.Join(d, "usr/lib/modules/6.1-toy/modules.dep"), []byte("kernel/fs/nfs/nfs.ko:\n"), 0o644))
		}, Recipe{}, []string{"in its kernel 6.1-toy overlayfs (overlay); in its kernel 6.1-toy packet sockets (af_packet)", "drivers of network cards"}},
		"a dangling init": {func(d string) {
			putRoot(t, d)
			rootFile(t, d, "usr/sbin/init2")
			must(t, os.Remove(d+"/usr/sbin/init"))
			rootFile(t, d, "usr/sbin/init -> /etc/passwd-none")
		}, Recipe{}, []string{"lacks an init"}},
		"a host's init": {func(d string) {
			putRoot(t, d)
			must(t, os.Remove(d+"/usr/sbin/init"))
			rootFile(t, d, "usr/sbin/init -> /bin/true")
		}, Recipe{}, []string{"lacks an init"}},
		"no udev": {func(d string) { putRoot(t, d); rootFile(t, d, "lib/systemd/systemd") }, Recipe{}, []string{"lacks udev"}},
		"another kernel": {func(d string) {
			putRoot(t, d)
			rootFile(t, d, "boot/x")
			must(t, os.WriteFile(d+"/boot/vmlinuz-6.1-toy", []byte("ARM"), 0o644))
		}, Recipe{}, []string{"vmlinuz-6.1-toy is not one for x86_64"}},
		"no shell": {func(d string) { putRoot(t, d) }, Recipe{Hooks: []string{"true"}}, []string{"a shell for the hooks"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := importing(t, test.fill)
			test.recipe.From = "test:it"
			_, err := b.Build(t.Context(), "web", test.recipe, Options{})
			if !errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Build = %v", err)
			}
			for _, s := range test.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v: does not tell %q", err, s)
				}
			}
			if left := leftovers(t, b); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

func TestUnknownSources(t *testing.T) {
	b := importing(t, func(string) { t.Error("it was asked") })
	for _, from := range []string{"docker:debian", "test:", "test", ":x", "/srv/root.tar"} {
		_, err := b.Build(t.Context(), "web", Recipe{From: from}, Options{})
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "known are tar:…, test:…") {
			t.Errorf("%s: %v", from, err)
		}
	}
	broken := errors.New("the registry is on fire")
	b.Sources["test"] = sourceFunc(func(dir string) error { rootFile(t, dir, "usr/half"); return broken })
	if _, err := b.Build(t.Context(), "web", Recipe{From: "test:it"}, Options{}); !errors.Is(err, broken) {
		t.Errorf("Build = %v", err)
	}
	if left := leftovers(t, b); len(left) > 0 {
		t.Errorf("a failed import left %q", left)
	}
}

// TestImportHarmsNothing imports roots whose links lead to a directory of this machine with everything that the
// work on a root touches.
func TestImportHarmsNothing(t *testing.T) {
	host := t.TempDir()
	putRoot(t, host)
	rootFile(t, host, "etc/ssh/ssh_host_rsa_key", "etc/hostname", "etc/shadow", "var/cache/apt/archives/a_1_amd64.deb", "var/log/dpkg.log", "var/log/syslog", "boot/initrd.img-1", "usr/lib/firmware/secret")
	before := listing(t, host)
	for name, fill := range map[string]func(dir string){
		"etc":     func(d string) { putRoot(t, d); must(t, os.RemoveAll(d+"/etc")); rootFile(t, d, "etc -> "+host+"/etc") },
		"etc/ssh": func(d string) { putRoot(t, d); rootFile(t, d, "etc/ssh -> "+host+"/etc/ssh") },
		"var":     func(d string) { putRoot(t, d); rootFile(t, d, "var -> "+host+"/var") },
		"var/log": func(d string) { putRoot(t, d); rootFile(t, d, "var/log -> "+host+"/var/log") },
		"boot": func(d string) {
			rootFile(t, d, "sbin/init", "boot -> "+host+"/boot", "usr/lib/modules -> "+host+"/usr/lib/modules")
		},
		"dots":        func(d string) { putRoot(t, d); rootFile(t, d, "var -> ../../../../../../../../../.."+host+"/var") },
		"through two": func(d string) { putRoot(t, d); rootFile(t, d, "x -> "+host, "var -> x/var") },
		"firmware": func(d string) {
			putRoot(t, d)
			rootFile(t, d, "usr/lib/firmware/secret -> "+host+"/usr/lib/firmware/secret")
		},
		"module": func(d string) {
			putRoot(t, d)
			k := "usr/lib/modules/6.1-toy/kernel/fs/nfs/nfs.ko"
			must(t, os.Remove(d+"/"+k))
			rootFile(t, d, k+" -> "+host+"/etc/shadow")
		},
		"kernel": func(d string) {
			putRoot(t, d)
			must(t, os.Remove(d+"/boot/vmlinuz-6.1-toy"))
			rootFile(t, d, "boot/vmlinuz-6.1-toy -> "+host+"/boot/vmlinuz-6.1-toy")
		},
		"shadow": func(d string) { putRoot(t, d); rootFile(t, d, "etc/shadow -> "+host+"/etc/shadow") },
		"proc":   func(d string) { putRoot(t, d); rootFile(t, d, "proc -> "+host+"/etc", "dev -> "+host+"/var") },
		"the whole system": func(d string) {
			rootFile(t, d, "etc -> "+host+"/etc", "var -> "+host+"/var", "usr -> "+host+"/usr", "boot -> "+host+"/boot", "sbin -> usr/sbin")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := importing(t, fill)
			img, err := b.Build(t.Context(), "web", Recipe{From: "test:it"}, Options{})
			if d := cmp.Diff(before, listing(t, host)); d != "" {
				t.Fatalf("the machine was changed (%v): %s", err, d)
			}
			if err != nil {
				return // it lacks what it only seemed to have
			}
			for _, f := range []string{KernelFile, InitrdFile} {
				if info, err := os.Lstat(filepath.Join(img.Dir, f)); err != nil || !info.Mode().IsRegular() {
					t.Errorf("%s is %v, %v", f, info, err)
				}
			}
		})
	}
}

// listing describes everything below a directory.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%P %y %m %s %l\n").Output()
	must(t, err)
	return strings.Split(string(out), "\n")
}

func TestContainKeepsTheMeaningOfLinks(t *testing.T) {
	tree := t.TempDir()
	rootFile(t, tree, "usr/share/zoneinfo/UTC", "etc/alternatives/awk -> /usr/bin/awk", "etc/localtime -> /usr/share/zoneinfo/UTC", "var/run -> /run",
		"lib64 -> usr/lib", "etc/systemd/system/x.service -> /dev/null", "a/b/c -> /usr/lib", "a/up -> ../../../../../../../../../../usr/lib", "gone -> /no/such/directory")
	must(t, contain(t.Context(), tree, os.Stderr))
	for name, want := range map[string]string{
		"etc/alternatives/awk": "/usr/bin/awk", "etc/localtime": "/usr/share/zoneinfo/UTC", "var/run": "../run", "lib64": "usr/lib",
		"etc/systemd/system/x.service": "/dev/null", "a/b/c": "../../usr/lib", "a/up": "../usr/lib", "gone": "/no/such/directory",
	} {
		if got, err := os.Readlink(filepath.Join(tree, name)); err != nil || got != want {
			t.Errorf("%s -> %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, pair := range [][2]string{{"6.1.9", "6.1.10"}, {"5.10.0-30-amd64", "6.1.0-1-amd64"}, {"6.1.0-9", "6.1.0-9-rt"}, {"6.01", "6.2"}} {
		if compareVersions(pair[0], pair[1]) >= 0 || compareVersions(pair[1], pair[0]) <= 0 || compareVersions(pair[0], pair[0]) != 0 {
			t.Errorf("%s is not before %s", pair[0], pair[1])
		}
	}
}
