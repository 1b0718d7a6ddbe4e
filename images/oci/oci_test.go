package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"muster/images"
	"muster/images/unpack"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: map[string]string{"MUSTER.content": content}}
}

func dir(name string) tar.Header {
	return tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}
}

func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

// archive is a layer's tar in gzip; a file's content is in its record MUSTER.content.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		content := h.PAXRecords["MUSTER.content"]
		delete(h.PAXRecords, "MUSTER.content")
		h.Size, h.Format = int64(len(content)), tar.FormatPAX
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		must(t, err)
	}
	must(t, errors.Join(w.Close(), z.Close()))
	return b.Bytes()
}

func layer(t testing.TB, entries ...tar.Header) v1.Layer {
	return static.NewLayer(archive(t, entries...), types.OCILayer)
}

// image has the layers, for the usual platform.
func image(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	must(t, err)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	must(t, err)
	return mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// base is two layers with all that layers have.
func base(t testing.TB) v1.Image {
	su := file("usr/bin/su", "binary")
	su.Mode, su.Uid, su.PAXRecords["SCHILY.xattr.user.note"] = 0o4755, 3, "kept"
	return image(t,
		layer(t, dir("usr"), dir("usr/bin"), su, tar.Header{Name: "usr/bin/link", Typeflag: tar.TypeLink, Linkname: "usr/bin/su"},
			dir("etc"), file("etc/old", "1"), file("etc/kept", "2"), dir("cache"), file("cache/a", "1"), symlink("bin", "usr/bin")),
		layer(t, file("etc/.wh.old", ""), dir("cache"), file("cache/.wh..wh..opq", ""), file("cache/b", "2"), file("bin/new", "3")))
}

var baseTree = []string{"bin->usr/bin", "cache", "cache/b=2", "etc", "etc/kept=2", "usr", "usr/bin", "usr/bin/link=binary", "usr/bin/new=3", "usr/bin/su=binary"}

// tree lists a directory: "name", "name=content", "name->target".
func tree(t testing.TB, root string) []string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		n := strings.TrimPrefix(p, root+"/")
		if d.Type() == fs.ModeSymlink {
			to, _ := os.Readlink(p)
			n += "->" + to
		} else if d.Type().IsRegular() {
			b, err := os.ReadFile(p)
			must(t, err)
			n += "=" + string(b)
		}
		all = append(all, n)
		return nil
	}))
	slices.Sort(all)
	return all
}

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes other users' files")
	}
}

// serve is a registry on loopback with the image as test/image:1. around, if any, stands between it and us.
func serve(t testing.TB, img v1.Image, around func(http.Handler) http.Handler) (host string) {
	t.Helper()
	needsRoot(t)
	h := http.Handler(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	direct := httptest.NewServer(h)
	t.Cleanup(direct.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(direct.URL, "http://") + "/test/image:1")
	must(t, err)
	if img != nil {
		must(t, remote.Write(ref, img))
	}
	if around == nil {
		return ref.Context().RegistryStr()
	}
	s := httptest.NewServer(around(h))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// nobody asks without credentials, whatever the machine has, and does not wait long.
var nobody = Registry{Keychain: authn.NewMultiKeychain(), pause: time.Millisecond}

func TestPull(t *testing.T) {
	img := base(t)
	digest, err := img.Digest()
	must(t, err)
	host := serve(t, img, nil)
	for _, what := range []string{host + "/test/image:1", host + "/test/image@" + digest.String()} {
		root := t.TempDir()
		percent := 0
		origin, err := nobody.Fill(t.Context(), what, root, images.FillOptions{Log: io.Discard, Progress: func(p int, message string) {
			if p < percent || !strings.Contains(message, "of 2") {
				t.Errorf("progress %d after %d: %s", p, percent, message)
			}
			percent = p
		}})
		if want := "oci:" + host + "/test/image@" + digest.String(); err != nil || origin != want || percent != 100 {
			t.Errorf("Fill(%s) = %q, %v; want %q; %d %%", what, origin, err, want, percent)
		}
		if d := cmp.Diff(baseTree, tree(t, root)); d != "" {
			t.Error(d)
		}
		var a, b unix.Stat_t
		must(t, unix.Lstat(root+"/usr/bin/su", &a))
		must(t, unix.Lstat(root+"/usr/bin/link", &b))
		if a.Mode&0o7777 != 0o4755 || a.Uid != 3 || a.Ino != b.Ino {
			t.Errorf("su has the mode %o and the owner %d, its link the inode %d of %d", a.Mode, a.Uid, b.Ino, a.Ino)
		}
		note := make([]byte, 10)
		if n, err := unix.Lgetxattr(root+"/usr/bin/su", "user.note", note); err != nil || string(note[:n]) != "kept" {
			t.Errorf("the extended attribute is %q, %v", note[:max(n, 0)], err)
		}
	}
}

func TestPlatforms(t *testing.T) {
	arm, err := mutate.ConfigFile(base(t), &v1.ConfigFile{OS: "linux", Architecture: "arm64"})
	must(t, err)
	host := serve(t, arm, nil)
	push := func(tag string, index v1.ImageIndex) {
		ref, err := name.ParseReference(host + "/test/image:" + tag)
		must(t, err)
		must(t, remote.WriteIndex(ref, index))
	}
	add := func(img v1.Image, arch string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
	}
	ours := base(t)
	push("both", mutate.AppendManifests(empty.Index, add(arm, "arm64"), add(ours, "amd64")))
	push("arm", mutate.AppendManifests(empty.Index, add(arm, "arm64")))
	digest, err := ours.Digest()
	must(t, err)
	if origin, err := nobody.Fill(t.Context(), host+"/test/image:both", t.TempDir(), images.FillOptions{}); err != nil || !strings.HasSuffix(origin, digest.String()) {
		t.Errorf("both: %q, %v; want the digest of the one for amd64, %s", origin, err, digest)
	}
	for tag, says := range map[string]string{"1": "it is for linux/arm64, and nodes run linux/amd64", "arm": "not there for linux/amd64"} {
		if _, err := nobody.Fill(t.Context(), host+"/test/image:"+tag, t.TempDir(), images.FillOptions{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error with %q", tag, err, says)
		}
	}
}

func TestBadImages(t *testing.T) {
	for what, test := range map[string]struct {
		img  v1.Image
		says string
	}{
		"leads out": {image(t, layer(t, file("ok", "")), layer(t, file("../../etc/passwd", "evil"))), `layer 2 of 2: unpack: "../../etc/passwd": leads out of the root`},
		"no tar":    {image(t, static.NewLayer([]byte("this is no archive"), types.OCILayer)), "layer 1 of 1: unpack: after 0 entries: the archive is cut off"},
		"encrypted": {image(t, static.NewLayer(archive(t), types.OCILayer+"+encrypted")), "no file system that can be read"},
		"no layers": {image(t), "has no layers"},
		"a chart":   {mutate.ConfigMediaType(base(t), "application/vnd.cncf.helm.config.v1+json"), "it is no container image, but holds application/vnd.cncf.helm.config.v1+json"},
	} {
		t.Run(what, func(t *testing.T) {
			host := serve(t, test.img, nil)
			root := t.TempDir()
			_, err := nobody.Fill(t.Context(), host+"/test/image:1", root, images.FillOptions{})
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Fill = %v, want an error with %q", err, test.says)
			}
			oneSentence(t, err)
			if left := tree(t, root); len(left) > 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

// endless is a layer with a file of 4 GB, of which so much was read.
type endless struct {
	v1.Layer
	head []byte
	read int64
}

func (*endless) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, nil
}

func (e *endless) Compressed() (io.ReadCloser, error) { return io.NopCloser(e), nil }

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.head)
	e.head = e.head[n:]
	for i := n; i < len(b); i++ {
		b[i] = 'x'
	}
	e.read += int64(len(b))
	return len(b), nil
}

// TestDiskFull: a full disk is told as that, and at once, not as a damaged layer when a gigabyte more was fetched.
func TestDiskFull(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	var head bytes.Buffer
	must(t, tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: 4 << 30}))
	root, err := unpack.Open(dir)
	must(t, err)
	defer root.Close()
	l := &endless{head: head.Bytes()}
	if err := apply(t.Context(), root, l, &progress{}, nil); !errors.Is(err, unix.ENOSPC) || l.read > 64<<20 {
		t.Errorf("after %d MB: %v", l.read>>20, err)
	}
}

func oneSentence(t *testing.T, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 400) {
		t.Errorf("this is no sentence: %v", err)
	}
}
