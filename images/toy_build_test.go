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
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// untidy is a postinst as packages have them: what it leaves differs in every build.
const untidy = `
date +%s%N >/var/log/hello.log
date +%s%N >/etc/passwd-
ls -l --time-style=full-iso / >/root/.wget-hsts
mkdir -p /etc/hello
{ echo '-----BEGIN' 'PRIVATE KEY-----'; head -c 32 /dev/urandom; } >/etc/hello/made.key
mkdir -p /etc/ssh; date +%s%N >/etc/ssh/ssh_host_rsa_key
echo "hello:!:$(($(date +%s) / 86400 + $$ % 7)):0:99999:7:::" >>/etc/shadow
date +%s%N >/etc/machine-id
cat /etc/hostname >/etc/mailname; cat /proc/sys/kernel/hostname >>/etc/mailname
echo "$SOURCE_DATE_EPOCH" >/etc/hello/epoch
`

// An image that is built again is the same image, and what the first build fetched is not fetched again.
func TestRebuild(t *testing.T) {
	y := newToy(t)
	y.add("hello", "1", "Depends: greeter\n", map[string]string{"etc/hello/shipped.key": begin + "RSA PRIVATE KEY-----\n"}, untidy)
	y.add("greeter", "1:2.0-1", "", map[string]string{"usr/bin/greet": "#!/bin/sh\n"}, "")
	y.publish()
	b := y.builder()
	recipe := y.recipe("hello")
	recipe.Hooks = []string{"date +%s >/etc/hello/hooked; echo $SOURCE_DATE_EPOCH >/etc/hello/hooked"}
	build := func() Image {
		t.Helper()
		img, err := b.Build(t.Context(), "web", recipe, Options{Overlays: []fs.FS{fstest.MapFS{"etc/motd": {Data: []byte("hi"), Mode: 0o444}}}})
		if err != nil {
			t.Fatalf("%v\n%s", err, tail(y.log(b)))
		}
		return img
	}
	first := build()
	if got := y.asked(); !slices.Contains(got, "hello_1_amd64.deb") || !slices.Contains(got, "toybase_1_amd64.deb") {
		t.Errorf("the first build fetched %q", got)
	}
	tree := filepath.Join(first.Dir, TreeDir)
	for name, want := range map[string]string{
		"etc/mailname": "localhost\nlocalhost\n", "etc/hello/hooked": "1700000000\n", "etc/hello/epoch": "946684800\n",
		"etc/shadow": "root:*:19675:0:99999:7:::\nhello:!:19675:0:99999:7:::\n", "etc/machine-id": "",
		"usr/lib/os-release": "ID=toy\nIMAGE_ID=web\n",
	} {
		if got, err := os.ReadFile(filepath.Join(tree, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"var/log/hello.log", "etc/passwd-", "etc/hello/made.key", "etc/ssh/ssh_host_rsa_key", "root/.wget-hsts"} {
		if _, err := os.Lstat(filepath.Join(tree, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the image has %s (%v)", name, err)
		}
	}
	log := y.log(b)
	if !strings.Contains(log, "removed /etc/hello/made.key") || !strings.Contains(log, "W: muster: /etc/hello/shipped.key looks like a private key") || strings.Contains(log, "W: muster: /etc/hello/made.key") {
		t.Errorf("the log does not tell of keys:\n%s", tail(log))
	}
	times := modTimes(t, first.Dir)
	second := build()
	if got := y.asked(); len(got) > 0 {
		t.Errorf("the second build fetched %q", got)
	}
	if first.Digest != second.Digest {
		diff, _ := exec.Command("diff", filepath.Join(first.Dir, ManifestFile), filepath.Join(second.Dir, ManifestFile)).Output()
		t.Errorf("the second build gave another image:\n%s", diff)
	}
	if d := cmp.Diff(times, modTimes(t, second.Dir)); d != "" {
		t.Errorf("the second build's files have other times:\n%s", d)
	}
	// One package changes: it is fetched, and nothing else.
	y.add("greeter", "1:2.0-2", "", map[string]string{"usr/bin/greet": "#!/bin/sh\necho\n"}, "")
	y.publish()
	if third := build(); third.Digest == second.Digest {
		t.Error("an image with another package has the same digest")
	}
	if d := cmp.Diff([]string{"greeter_1%3a2.0-2_amd64.deb"}, y.asked()); d != "" {
		t.Errorf("what the third build fetched: %s", d)
	}
	// A recipe's epoch is the image's time.
	recipe.Epoch = 1600000000
	for name, at := range modTimes(t, build().Dir) {
		if at > recipe.Epoch {
			t.Errorf("%s is of %d, after the epoch", name, at)
		}
	}
}

// modTimes gives the times of everything that a manifest covers.
func modTimes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	times := map[string]int64{}
	for _, name := range []string{TreeDir, KernelFile, InitrdFile} {
		must(t, eachPath(t.Context(), filepath.Join(dir, name), func(path string, st *unix.Stat_t) error {
			times[strings.TrimPrefix(path, dir)] = st.Mtim.Sec
			return nil
		}))
	}
	return times
}

// log is the text of the latest build's log.
func (y *toy) log(b *Builder) string {
	y.t.Helper()
	logs, _ := filepath.Glob(filepath.Join(b.Catalog.Dir, "web/build-*.log"))
	slices.SortFunc(logs, func(a, b string) int {
		ia, _ := os.Stat(a)
		ib, _ := os.Stat(b)
		return ia.ModTime().Compare(ib.ModTime())
	})
	if len(logs) == 0 {
		return ""
	}
	text, err := os.ReadFile(logs[len(logs)-1])
	must(y.t, err)
	return string(text)
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// What is wrong with packages, their sources, overlays and hooks is told in one sentence, and nothing is left.
func TestBuildFaults(t *testing.T) {
	y := newToy(t)
	y.add("broken", "1", "", nil, "echo oh no; exit 7\n")
	y.add("needy", "1", "Depends: nothing-has-this\n", nil, "")
	y.publish()
	other := newToy(t) // its key is another
	refused := "http://127.0.0.1:9/"
	hang := silent(t)
	for name, test := range map[string]struct {
		change  func(*Recipe, *Options, *Builder)
		say     string // what the error must tell
		kind    error
		fetched bool // packages were fetched, and are kept
	}{
		"a package that fails to configure": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Packages = []string{"broken"} },
			"the package broken cannot be installed: its post-installation script failed with exit status 7 after it said \"oh no\"", nil, true,
		},
		"a package that is not there": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Packages = []string{"helo"} }, "the sources have no package helo", nil, true,
		},
		"a package without its dependency": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Packages = []string{"needy"} },
			"needy : Depends: nothing-has-this but it is not installable", nil, true,
		},
		"a source that another key signed": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Keys = []string{other.key} },
			"the package source " + y.server.URL + " is not signed by a key that is known here", nil, false,
		},
		"an extra source without a key": {
			func(r *Recipe, _ *Options, _ *Builder) {
				r.Mirror, r.Keys = "deb [signed-by="+y.key+"] "+y.mirror()+" toy main", nil
				r.Sources = []string{"deb " + other.mirror() + " toy main"}
			},
			"the package source " + other.server.URL + " is not signed by a key that is known here", nil, false,
		},
		"no source at the address": {
			func(r *Recipe, _ *Options, _ *Builder) {
				r.Sources = []string{"deb " + y.mirror() + "nowhere toy main"}
			},
			y.mirror() + "nowhere is no package source, or has not this suite", nil, false,
		},
		"a mirror that is away": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Mirror = refused }, "the package source http://127.0.0.1:9 does not answer", nil, false,
		},
		"a mirror that hangs": {
			func(r *Recipe, _ *Options, b *Builder) { r.Mirror, b.Patience = hang, time.Second },
			"the package source " + strings.TrimSuffix(hang, "/") + " does not answer", nil, false,
		},
		"a file over a directory": {
			func(_ *Recipe, o *Options, _ *Builder) {
				o.Overlays = []fs.FS{fstest.MapFS{"etc": {Data: []byte("x"), Mode: 0o644}}}
			},
			"overlay: etc: is a directory in the image", nil, true,
		},
		"a directory over a file": {
			func(_ *Recipe, o *Options, _ *Builder) {
				o.Overlays = []fs.FS{fstest.MapFS{"etc/passwd/x": {Data: []byte("x"), Mode: 0o644}}}
			},
			"overlay: etc/passwd: is a directory in the overlay, and not in the image", nil, true,
		},
		"a hook that fails": {
			func(r *Recipe, _ *Options, _ *Builder) { r.Hooks = []string{"true", "echo one; echo two >&2; exit 3"} },
			"hook 2 of 2 failed: exit status 3; its last words: one / two", nil, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time goes by waiting for sources that do not answer
			b, recipe, opts := y.builder(), y.recipe(), Options{}
			test.change(&recipe, &opts, b)
			_, err := b.Build(t.Context(), "web", recipe, opts)
			if err == nil || !strings.Contains(err.Error(), test.say) || test.kind != nil && !errors.Is(err, test.kind) {
				t.Errorf("Build = %v\nwant %q\n%s", err, test.say, tail(y.log(b)))
			}
			if strings.ContainsRune(fmt.Sprint(err), '\n') {
				t.Errorf("it is more than a line: %v", err)
			}
			if left := leftovers(t, b); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
			if debs, _ := filepath.Glob(filepath.Join(b.archives(), "*.deb")); len(debs) > 0 != test.fetched {
				t.Errorf("packages in the cache: %q", debs)
			}
		})
	}
}
