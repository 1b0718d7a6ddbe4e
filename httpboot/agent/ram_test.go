package agent

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// ramServer is a director that has an image for RAM, too.
type ramServer struct {
	*fakeDirector
	seal, content []byte
	asked         []string
}

func (s *ramServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := s.content
	switch r.URL.Path {
	default:
		s.fakeDirector.ServeHTTP(w, r)
		return
	case "/images/web/7/root.seal":
		b = s.seal
	case "/images/web/7/root.squashfs":
	}
	if r.Method != http.MethodGet {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	s.asked = append(s.asked, r.URL.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}

// ramBoot is a machine that boots web:7 into RAM, and its server.
func ramBoot(t *testing.T, meminfo string) (root string, s *ramServer) {
	t.Helper()
	content, seal := squash(1050)
	spec := webSpec()
	spec.Root, spec.Mounts = Mount{Type: "squashfs"}, nil
	spec.RAM = &RAMRoot{Squashfs: "/images/web/7/root.squashfs?boot=12", Seal: "/images/web/7/root.seal", Size: 1050}
	root = machineTree(t)
	write(t, root, map[string]string{"proc/meminfo": meminfo})
	line := cmdlineOfWeb + " " + ParamKey + "=" + base64.RawURLEncoding.EncodeToString(public()) + " " + ParamRoot + "=squashfs"
	if err := os.WriteFile(root+"/proc/cmdline", []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	s = &ramServer{&fakeDirector{t: t, replies: []Reply{{Spec: spec}}}, sealed(t, signer, seal), content, nil}
	return root, s
}

const roomy = "MemTotal:  500000 kB\nMemAvailable:  400000 kB\n"

// The way into RAM: seal, squashfs, loop mount, overlay; nothing by NFS.
func TestBootRAM(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, s := ramBoot(t, roomy)
		write(t, root, map[string]string{
			"lib/modules/6.1.0-test/modules.dep": "nfs.ko:\nnfsv3.ko: nfs.ko\nloop.ko:\nsquashfs.ko: zstd.ko\nzstd.ko:\noverlay.ko:\n",
			"lib/modules/6.1.0-test/nfs.ko":      "", "lib/modules/6.1.0-test/nfsv3.ko": "", "lib/modules/6.1.0-test/overlay.ko": "",
			"lib/modules/6.1.0-test/loop.ko": "", "lib/modules/6.1.0-test/squashfs.ko": "", "lib/modules/6.1.0-test/zstd.ko": "",
		})
		k := &fakeKernel{fail: map[string][]error{"mount squashfs": {errBusy}, "mount overlay": {errBusy}}}
		a, scr := newAgent(root, k, servers{"two": s})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		load := "mount tmpfs muster ROOT/ram\n"
		mount := "mount squashfs ROOT/ram/root.squashfs ROOT/ro\n"
		over := `mount tmpfs muster ROOT/rw
mount overlay muster ROOT/sysroot
`
		// What was loaded and verified stays, whatever fails after it: a rack that tries again must not load again.
		want := load + mount + mount + over + "unmount ROOT/rw\nunmount ROOT/ro\n" + mount + over
		got := k.calls("mount tmpfs muster", "mount squashfs", "mount overlay", "mount nfs", "unmount")
		if got = strings.ReplaceAll(got, root, "ROOT") + "\n"; got != want {
			t.Errorf("done:\n%s\nwant:\n%s", got, want)
		}
		for _, name := range []string{"overlay", "loop", "squashfs"} {
			if !strings.Contains(k.calls("module"), name) {
				t.Errorf("%s is not loaded", name)
			}
		}
		if got := k.calls("module nfs"); got != "" {
			t.Errorf("modules of no use: %s", got)
		}
		if b, err := os.ReadFile(root + "/ram/root.squashfs"); string(b) != string(s.content) {
			t.Errorf("in RAM there are %d bytes, %v", len(b), err)
		}
		if len(s.asked) != 4 || s.asked[1] != "http://two/images/web/7/root.squashfs?boot=12&mac=52-54-00-aa-00-01" {
			t.Errorf("asked for %q", s.asked)
		}
		s.wantSteps("hello", "network", "root!", "root!", "root", "files", "switch-root")
		scr.shows(t, "root: web:7 in RAM, 0.0 MiB from http://two in 0s")
	})
}

// What is in RAM goes when the spec changes: to a root on NFS, or to another image.
func TestRAMIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, s := ramBoot(t, roomy)
		fresh := webSpec()
		other := *s.replies[0].Spec
		other.Hostname = "web-04" // another node's, of the same image
		s.replies = append(s.replies, Reply{Spec: &other}, Reply{Spec: fresh})
		k := &fakeKernel{fail: map[string][]error{"mount overlay": {errBusy, errBusy}}}
		a, _ := newAgent(root, k, servers{"two": s})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := "mount tmpfs muster ROOT/ram\nunmount ROOT/ram"
		if got := strings.ReplaceAll(k.calls("mount tmpfs muster "+root+"/ram", "unmount "+root+"/ram"), root, "ROOT"); got != want {
			t.Errorf("done:\n%s\nwant:\n%s", got, want)
		}
		if a.ram != nil || k.calls("mount nfs 10.77.0.1:/images") == "" {
			t.Errorf("done: %q", k.done)
		}

		// The seal of a new version is another one.
		a.ram = &Seal{Ref: "web:6", Size: 1}
		k.done = nil
		s.replies[0].Spec.Image = "web:7"
		if _, _, err := a.mountRAM(t.Context(), &other, root+"/ro"); err != nil {
			t.Fatal(err)
		}
		want = "unmount ROOT/ram\nmount tmpfs muster ROOT/ram\nmount squashfs ROOT/ram/root.squashfs ROOT/ro"
		if got := strings.ReplaceAll(strings.Join(k.done, "\n"), root, "ROOT"); got != want || a.ram.Ref != "web:7" {
			t.Errorf("done:\n%s\nwant:\n%s", got, want)
		}
	})
}

// The server that is said to lie is the one that did, whichever took an event meanwhile.
func TestRAMNamesTheLiar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, s := ramBoot(t, roomy)
		s.content[5] ^= 1
		s.replies = append(s.replies, Reply{Reboot: "enough"})
		var a *Agent
		var scr *screen
		a, scr = newAgent(root, &fakeKernel{}, servers{"two": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, ".squashfs") {
				a.client.mu.Lock()
				a.client.at = 0
				a.client.mu.Unlock()
			}
		})})
		a.Run(t.Context())
		scr.shows(t, "http://two: chunk 1 of 11")
		if strings.Contains(scr.String(), "http://one: chunk") {
			t.Errorf("the wrong one is blamed:\n%s", scr)
		}
	})
}

// What cannot be verified, or does not fit, never becomes a root; the reason is one that people can act on.
func TestRAMRefused(t *testing.T) {
	for want, spoil := range map[string]func(root string, s *ramServer){
		"the kernel command line has no muster.key=": func(root string, _ *ramServer) {
			os.WriteFile(root+"/proc/cmdline", []byte(cmdlineOfWeb), 0o644)
		},
		"its signature is not by the key of this boot": func(_ string, s *ramServer) { s.seal[3] ^= 1 },
		"it is no seal": func(_ string, s *ramServer) { s.seal = []byte("404 page not found\n") },
		"it is the one of web:7, ": func(_ string, s *ramServer) {
			s.replies[0].Spec.Image = "web:8"
		},
		"chunk 3 of 11, from byte 200 on, is not what was sealed": func(_ string, s *ramServer) { s.content[222] ^= 1 },
		"it has 1049 bytes, 1050 are sealed":                      func(_ string, s *ramServer) { s.content = s.content[1:] },
		"needs 64 MiB of free memory (0.0 MiB, and 64 MiB to work with), there are 48 MiB": func(root string, _ *ramServer) {
			os.WriteFile(root+"/proc/meminfo", []byte("MemAvailable:  50000 kB\n"), 0o644)
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, s := ramBoot(t, roomy)
				spoil(root, s)
				want = strings.ReplaceAll(want, "web:7, ", "web:7")
				s.replies = append(s.replies, Reply{Reboot: "enough"})
				k := &fakeKernel{}
				a, scr := newAgent(root, k, servers{"two": s})
				a.Run(t.Context())
				scr.shows(t, want, "enough")
				if got := k.calls("mount squashfs", "mount overlay", "switch-root"); got != "" {
					t.Errorf("all the same: %s", got)
				}
				if m, u := k.calls("mount tmpfs muster"), k.calls("unmount"); strings.Count(m, root) != strings.Count(u, root) {
					t.Errorf("mounted %q, unmounted %q", m, u)
				}
				found := false
				for _, ev := range s.events {
					found = found || ev.Step == "root" && strings.Contains(ev.Error, want)
				}
				if !found {
					t.Errorf("no event says so: %+v", s.events)
				}
			})
		})
	}
}

func TestCheckRAM(t *testing.T) {
	good := func() *Spec {
		s := webSpec()
		s.Root, s.RAM = Mount{Type: "squashfs"}, &RAMRoot{Squashfs: "/a", Seal: "/b", Size: 1}
		return s
	}
	if err := good().check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Spec){
		"without where to load it from":     func(s *Spec) { s.RAM = nil },
		`squashfs "http://x" and seal "/b"`: func(s *Spec) { s.RAM.Squashfs = "http://x" },
		`seal ""`:                           func(s *Spec) { s.RAM.Seal = "" },
		"a squashfs of 0 bytes":             func(s *Spec) { s.RAM.Size = 0 },
		`root type "nfs", and one to load`:  func(s *Spec) { s.Root = webSpec().Root },
	} {
		s := good()
		spoil(s)
		if err := s.check(); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
