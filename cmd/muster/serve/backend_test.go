package serve

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"muster/cmd/muster/config"
	"muster/images"
	"muster/images/backendtest"
	"muster/images/nfs"
	"muster/roles"
	"muster/roles/api"
)

// publisher makes images of directories, with a mmdebstrap that copies one over the least that a root must have.
type publisher struct {
	builder
	source string // a file with the directory's path
}

func newPublisher(t *testing.T) publisher {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: builds make namespaces")
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("needs mksquashfs: packs an image")
	}
	bin := t.TempDir()
	p := publisher{source: filepath.Join(bin, "source")}
	script := debstrap + fmt.Sprintf("cp -a \"$(cat %s)/.\" \"$tree/\"\n", p.source)
	for name, text := range map[string]string{"mmdebstrap": script, "agent": "agent"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var err error
	p.builder, err = localBuilder(&config.Config{Data: filepath.Join(t.TempDir(), "data"), Library: "/nonexistent"}, filepath.Join(bin, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p publisher) data() string { return filepath.Dir(p.catalog.Dir) }

func (p publisher) publish(t *testing.T, tree string) images.Image {
	t.Helper()
	if err := os.WriteFile(p.source, []byte(tree), 0o644); err != nil {
		t.Fatal(err)
	}
	role := roles.Role{Name: "web", Recipe: images.Recipe{Kernel: images.KernelCloud}}
	img, err := p.build(t.Context(), role, func(api.BuildProgress) {})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestEmbeddedConforms runs the suite over this server's own exports. That nfs-ganesha hands out what its
// configuration names is shown by the suite of package nfs.
func TestEmbeddedConforms(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Host {
		p := newPublisher(t)
		if _, err := exec.LookPath("ganesha.nfsd"); err != nil {
			t.Skip("needs ganesha.nfsd: it says how what it exports is mounted")
		}
		members := nets("10.77.0.20/31")
		exports := []nfs.Export{
			{Path: filepath.Join(p.data(), "images"), ReadOnly: true, Clients: nets("10.77.0.0/24")},
			{Path: filepath.Join(p.data(), "volumes"), Clients: members}, {Path: filepath.Join(p.data(), "state"), Clients: members},
		}
		for _, e := range exports {
			if err := os.MkdirAll(e.Path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b := &embedded{data: p.data(), making: new(sync.Mutex)}
		start := func(t *testing.T) {
			b.exports = &nfs.Ganesha{Dir: t.TempDir()}
			if err := b.exports.Set(t.Context(), exports); err != nil {
				t.Fatal(err)
			}
		}
		start(t)
		var known []images.Image
		return backendtest.Host{
			Backend: b, Restart: start, Shared: true,
			Publish: func(t *testing.T, tree string) images.Image {
				img := p.publish(t, tree)
				known = append(known, img)
				return img
			},
			Use: func(t *testing.T, all ...images.Image) {
				for _, img := range known {
					if !slices.ContainsFunc(all, func(i images.Image) bool { return i.Ref == img.Ref }) {
						if err := p.catalog.Remove(img.Ref); err != nil {
							t.Fatal(err)
						}
					}
				}
				known = all
			},
			Look: func(from netip.Addr, m images.Mount) (string, error) {
				for _, e := range exports {
					if !strings.HasPrefix(m.Path, e.Path+"/") {
						continue
					}
					if !slices.ContainsFunc(e.Clients, func(c netip.Prefix) bool { return c.Contains(from) }) {
						return "", fs.ErrPermission
					}
					_, err := os.Stat(m.Path)
					return m.Path, err
				}
				return "", fs.ErrNotExist
			},
		}
	})
}
