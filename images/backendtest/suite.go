// Package backendtest is the conformance suite of images.Backend: whatever nodes mount from, they find what was
// published, only when it is whole, and what is a slot's own.
//
// It looks at what is offered as files on this machine. That an NFS server hands them out as they are is for that
// server's own tests.
package backendtest

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"muster/images"
)

// Host is one implementation under test, with what surrounds it.
type Host struct {
	images.Backend
	// Publish makes a version of the image "web" whose tree is a copy of a directory.
	Publish func(t *testing.T, tree string) images.Image
	// Use says which versions nodes run or are to get, instead of those of before. What is used no more goes.
	Use func(t *testing.T, all ...images.Image)
	// Damage spoils what the backend makes its offer of a published version from; nil: it offers the tree itself.
	Damage func(t *testing.T, img images.Image)
	// Look gives a directory here with what a node at an address gets when it mounts m. The error wraps
	// fs.ErrPermission when it may not, fs.ErrNotExist when there is nothing.
	Look func(from netip.Addr, m images.Mount) (dir string, err error)
	// Restart ends what serves the offers without a warning and starts it again.
	Restart func(t *testing.T)
	// Shared says that nodes of other slots may mount a slot's state.
	Shared bool
}

// The slots that a Host has, with their addresses, and the role's volume and state.
var (
	Slots     = [2]string{"web-01", "web-02"}
	Addresses = [2]netip.Addr{netip.MustParseAddr("10.77.0.20"), netip.MustParseAddr("10.77.0.21")}
)

// Volume is the volume's name and where the role mounts it, State the target of its state directory.
const (
	Volume      = "www"
	VolumeMount = "/var/www"
	State       = "/var/log"
)

// patience bounds what takes a moment: an image is packed, loaded and verified.
const patience = time.Minute

// Run tests one implementation.
func Run(t *testing.T, make func(t *testing.T) Host) {
	for name, test := range map[string]func(t *testing.T, h Host){
		"offers what was published": offers,
		"directories":               directories,
		"slots":                     slots,
		"withdraws":                 withdraws,
		"restarts":                  restarts,
		"offers nothing else":       nothingElse,
		"damaged":                   damaged,
	} {
		t.Run(name, func(t *testing.T) {
			h := make(t)
			test(t, h)
		})
	}
}

// tree is a root with a file that says which it is, and the role's mount points with owners and modes.
func tree(t *testing.T, says string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{"etc/motd": says, "usr/bin/su": "\x7fELF"} {
		file := filepath.Join(root, path)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(text), 0o644))
	}
	must(t, os.Chmod(filepath.Join(root, "usr/bin/su"), 0o755|os.ModeSetuid))
	for path, mode := range map[string]os.FileMode{VolumeMount: 0o775 | os.ModeSetgid, State: 0o750} {
		must(t, os.MkdirAll(filepath.Join(root, path), 0o755))
		must(t, os.Chown(filepath.Join(root, path), 33, 44))
		must(t, os.Chmod(filepath.Join(root, path), mode))
	}
	return root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// need is what the node in a slot mounts, with a root or without.
func need(slot int, root *images.Image, like images.Image) images.Need {
	from := filepath.Join(like.Dir, images.TreeDir)
	return images.Need{Root: root, Slot: Slots[slot], Address: Addresses[slot], Dirs: []images.Dir{
		images.DirLike(images.VolumePath(Volume), from, VolumeMount),
		images.DirLike(images.StatePath(Slots[slot], State), from, State),
	}}
}

// await waits until a need is offered.
func (h Host) await(t *testing.T, n images.Need) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		why, err := h.Offer(t.Context(), n)
		must(t, err)
		if why == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still not offered: %s", why)
		}
	}
}

// root is what a node sees as its root.
func (h Host) root(slot int, ref images.Ref) (string, error) {
	m, err := h.Root(ref)
	if err != nil {
		return "", err
	}
	return h.Look(Addresses[slot], m)
}

// directory is what a node sees of a directory.
func (h Host) directory(slot int, path string) (string, error) {
	m, err := h.Directory(path)
	if err != nil {
		return "", err
	}
	return h.Look(Addresses[slot], m)
}

// says checks which root a node gets.
func (h Host) says(t *testing.T, slot int, ref images.Ref, want string) {
	t.Helper()
	dir, err := h.root(slot, ref)
	must(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "etc/motd"))
	if err != nil || string(b) != want {
		t.Errorf("%s says %q, %v; want %q", ref, b, err, want)
	}
}

func offers(t *testing.T, h Host) {
	first, second := h.Publish(t, tree(t, "one")), h.Publish(t, tree(t, "two"))
	h.Use(t, first, second)
	h.await(t, need(0, &first, first))
	h.await(t, need(1, &second, second))
	h.says(t, 0, first.Ref, "one")
	h.says(t, 1, second.Ref, "two")
	dir, err := h.root(0, first.Ref)
	must(t, err)
	fi, err := os.Stat(filepath.Join(dir, "usr/bin/su"))
	if err != nil || fi.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("the mode of su is %v, %v", fi, err)
	}
	fi, err = os.Stat(filepath.Join(dir, VolumeMount))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 33 {
		t.Errorf("the owner of %s: %v, %v", VolumeMount, fi, err)
	}
	// Asked again, it is the same.
	was, err := h.Root(first.Ref)
	must(t, err)
	h.await(t, need(0, &first, first))
	if now, err := h.Root(first.Ref); err != nil || now != was {
		t.Errorf("Root = %+v, %v; was %+v", now, err, was)
	}
}

func directories(t *testing.T, h Host) {
	img := h.Publish(t, tree(t, "one"))
	h.Use(t, img)
	n := need(0, nil, img)
	h.await(t, n)
	for i, want := range []os.FileMode{os.ModeDir | os.ModeSetgid | 0o775, os.ModeDir | 0o750} {
		dir, err := h.directory(0, n.Dirs[i].Path)
		must(t, err)
		fi, err := os.Stat(dir)
		must(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		if fi.Mode() != want || st.Uid != 33 || st.Gid != 44 {
			t.Errorf("%s is %v of %d:%d, want %v of 33:44", n.Dirs[i].Path, fi.Mode(), st.Uid, st.Gid, want)
		}
		// A service has changed it, and writes there.
		must(t, os.Chmod(dir, 0o700))
		must(t, os.Chown(dir, 55, 66))
		must(t, os.WriteFile(filepath.Join(dir, "kept"), []byte("kept"), 0o600))
	}
	second := h.Publish(t, tree(t, "two"))
	h.Use(t, img, second)
	h.await(t, need(0, &second, second))
	for _, d := range n.Dirs {
		dir, err := h.directory(0, d.Path)
		must(t, err)
		fi, err := os.Stat(dir)
		must(t, err)
		if b, err := os.ReadFile(filepath.Join(dir, "kept")); err != nil || string(b) != "kept" || fi.Mode().Perm() != 0o700 || fi.Sys().(*syscall.Stat_t).Uid != 55 {
			t.Errorf("%s has %q, %v, and is %v", d.Path, b, err, fi.Mode())
		}
	}
}

func slots(t *testing.T, h Host) {
	img := h.Publish(t, tree(t, "one"))
	h.Use(t, img)
	dirs := [2]string{}
	for i := range Slots {
		n := need(i, nil, img)
		h.await(t, n)
		dir, err := h.directory(i, n.Dirs[1].Path)
		must(t, err)
		dirs[i] = dir
		must(t, os.WriteFile(filepath.Join(dir, "mine"), []byte(Slots[i]), 0o600))
	}
	for i, dir := range dirs {
		if b, err := os.ReadFile(filepath.Join(dir, "mine")); err != nil || string(b) != Slots[i] {
			t.Errorf("the state of %s is that of %q, %v", Slots[i], b, err)
		}
	}
	// The volume is one.
	for i := range Slots {
		dir, err := h.directory(i, images.VolumePath(Volume))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, Slots[i]), nil, 0o600))
		if i == 1 {
			if _, err := os.Stat(filepath.Join(dir, Slots[0])); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := h.directory(1, images.StatePath(Slots[0], State)); !h.Shared && !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%s may mount the state of %s: %v", Slots[1], Slots[0], err)
	}
	stranger := netip.MustParseAddr("10.77.0.99")
	for _, path := range []string{images.VolumePath(Volume), images.StatePath(Slots[0], State)} {
		m, err := h.Directory(path)
		must(t, err)
		if _, err := h.Look(stranger, m); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a stranger may mount %s: %v", path, err)
		}
	}
}

func withdraws(t *testing.T, h Host) {
	first, second := h.Publish(t, tree(t, "one")), h.Publish(t, tree(t, "two"))
	h.Use(t, first, second)
	h.await(t, need(0, &first, first))
	h.await(t, need(0, &second, second))
	h.Use(t, second)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		why, err := h.Offer(t.Context(), need(0, &first, second))
		_, look := h.root(0, first.Ref)
		if (why != "" || err != nil) && look != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still there: offered %q, %v; mounted: %v", first.Ref, why, err, look)
		}
	}
	h.await(t, need(0, &second, second))
	h.says(t, 0, second.Ref, "two")
}

func restarts(t *testing.T, h Host) {
	img := h.Publish(t, tree(t, "one"))
	h.Use(t, img)
	n := need(0, &img, img)
	h.await(t, n)
	dir, err := h.directory(0, n.Dirs[1].Path)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "kept"), []byte("kept"), 0o600))
	h.Restart(t)
	h.await(t, n)
	h.says(t, 0, img.Ref, "one")
	dir, err = h.directory(0, n.Dirs[1].Path)
	must(t, err)
	if b, err := os.ReadFile(filepath.Join(dir, "kept")); err != nil || string(b) != "kept" {
		t.Errorf("after a restart the state has %q, %v", b, err)
	}
}

func nothingElse(t *testing.T, h Host) {
	img := h.Publish(t, tree(t, "one"))
	h.Use(t, img)
	h.await(t, need(0, &img, img))
	none := img
	none.Ref.Version = 99
	if why, err := h.Offer(t.Context(), need(0, &none, img)); why == "" && err == nil {
		t.Errorf("%s, which nobody published, is offered", none.Ref)
	}
	if dir, err := h.root(0, none.Ref); err == nil {
		t.Errorf("%s is in %s", none.Ref, dir)
	}
}

// damaged: what is not what was published is never offered, and holds nothing else up.
func damaged(t *testing.T, h Host) {
	if h.Damage == nil {
		return // it has nothing but what was published
	}
	good := h.Publish(t, tree(t, "good"))
	h.Use(t, good)
	h.await(t, need(0, &good, good))
	bad := h.Publish(t, tree(t, "bad"))
	h.Damage(t, bad)
	next := h.Publish(t, tree(t, "next"))
	h.Use(t, good, bad, next)
	// What came with it is there, and what was there still is; so it had its chance.
	h.await(t, need(0, &next, next))
	h.await(t, need(1, &good, good))
	h.says(t, 0, next.Ref, "next")
	if why, err := h.Offer(t.Context(), need(0, &bad, bad)); why == "" && err == nil {
		t.Error("a damaged version is offered")
	}
	if dir, err := h.root(0, bad.Ref); err == nil {
		if _, err := os.Stat(filepath.Join(dir, "etc/motd")); err == nil {
			t.Error("a damaged version is mounted")
		}
	}
}
