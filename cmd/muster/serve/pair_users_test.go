package serve

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/httpboot/agent/pair"
	"muster/images"
	"muster/roles"
)

// comparePrefixes lets cmp look at networks.
var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

// published is a version of an image whose tree has the directories that are named, with their modes.
func published(t *testing.T, name string, version int, dirs map[string]os.FileMode) images.Image {
	t.Helper()
	img := images.Image{Ref: images.Ref{Name: name, Version: version}, Dir: t.TempDir(), Squashfs: int64(1000 + version)}
	for dir, mode := range dirs {
		path := filepath.Join(img.Dir, images.TreeDir, dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// user is a pool of a role with some slots from an address on.
func user(t *testing.T, name, addresses string, role roles.Role, imgs ...images.Image) pairUser {
	t.Helper()
	r, err := roles.ParseAddressRange(addresses)
	if err != nil {
		t.Fatal(err)
	}
	u := pairUser{pool: roles.Pool{Name: name, Addresses: r, Storage: "storage"}, role: role, images: imgs}
	for i := range r.Len() {
		u.slots = append(u.slots, roles.Slot{Name: u.pool.SlotName(i + 1), Pool: name, Number: i + 1, Address: r.At(i)})
	}
	return u
}

// packedAs gives images as the pair gets them; those without a squashfs are not packed.
func packedAs(img images.Image) (pair.Image, bool) {
	return pair.Image{Name: img.Ref.Name, Version: img.Ref.Version, Size: img.Squashfs,
		Squashfs: filePath(img.Ref, images.SquashfsFile), Seal: filePath(img.Ref, images.SealFile)}, img.Squashfs > 0
}

func nets(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestContents(t *testing.T) {
	web7 := published(t, "web", 7, map[string]os.FileMode{"var/log": 0o755, "var/www": os.ModeSetgid | 0o2775})
	web8 := published(t, "web", 8, nil)
	raw := published(t, "web", 9, nil)
	raw.Squashfs = 0 // not packed yet
	www := roles.VolumeMount{Name: "www", Mount: "/var/www"}
	web := user(t, "web", "10.77.0.20-10.77.0.21", roles.Role{Name: "web", Volumes: []roles.VolumeMount{www}, State: []string{"/var/log"}}, web7, web8, raw)
	www.ReadOnly = true
	mirror := user(t, "mirror", "10.77.0.30", roles.Role{Name: "mirror", Volumes: []roles.VolumeMount{www, {Name: "iso", Mount: "/srv", ReadOnly: true}}}, web7)
	ram := user(t, "ram", "10.77.0.31", roles.Role{Name: "ram", Root: roles.RootRAM, State: []string{"/srv"}}, published(t, "ram", 1, nil))
	unbuilt := user(t, "new", "10.77.0.40", roles.Role{Name: "new", State: []string{"/srv"}})

	got, err := makeContents([]pairUser{mirror, unbuilt, ram, web}, packedAs)
	if err != nil {
		t.Fatal(err)
	}
	dir := func(path string, mode uint32) pair.Dir { return pair.Dir{Path: path, Mode: mode} }
	file := func(v int, name string) string { return fmt.Sprintf("/images/web/%d/%s", v, name) }
	want := pair.Contents{
		Revision: got.Revision,
		Images: []pair.Image{
			{Name: "web", Version: 7, Squashfs: file(7, "root.squashfs"), Seal: file(7, images.SealFile), Size: 1007},
			{Name: "web", Version: 8, Squashfs: file(8, "root.squashfs"), Seal: file(8, images.SealFile), Size: 1008},
		},
		Dirs: []pair.Dir{
			dir("state/ram-01", 0o755), dir("state/ram-01/srv", 0o755),
			dir("state/web-01", 0o755), dir("state/web-01/var-log", 0o755),
			dir("state/web-02", 0o755), dir("state/web-02/var-log", 0o755),
			dir("volumes/iso", 0o755), dir("volumes/www", 0o2775),
		},
		Exports: []pair.Export{
			{Path: "", ReadOnly: true, Clients: nets("10.77.0.20/31", "10.77.0.30/32", "10.77.0.31/32", "10.77.0.40/32")},
			{Path: "images/web/7", ReadOnly: true, NoRootSquash: true, Clients: nets("10.77.0.20/31", "10.77.0.30/32")},
			{Path: "images/web/8", ReadOnly: true, NoRootSquash: true, Clients: nets("10.77.0.20/31")},
			{Path: "state/ram-01", NoRootSquash: true, Clients: nets("10.77.0.31/32")},
			{Path: "state/web-01", NoRootSquash: true, Clients: nets("10.77.0.20/32")},
			{Path: "state/web-02", NoRootSquash: true, Clients: nets("10.77.0.21/32")},
			{Path: "volumes/iso", ReadOnly: true, NoRootSquash: true, Clients: nets("10.77.0.30/32")},
			{Path: "volumes/www", NoRootSquash: true, Clients: nets("10.77.0.20/31", "10.77.0.30/32")},
		},
	}
	if d := cmp.Diff(want, got, comparePrefixes); d != "" {
		t.Errorf("contents (-want +got):\n%s", d)
	}

	// The same again, in another order, is the same; anything else is not.
	again, err := makeContents([]pairUser{web, ram, mirror, unbuilt}, packedAs)
	if err != nil || again.Revision != got.Revision || got.Revision == "" {
		t.Errorf("revision %q, was %q; %v", again.Revision, got.Revision, err)
	}
	if other, _ := makeContents([]pairUser{web, ram, unbuilt}, packedAs); other.Revision == got.Revision {
		t.Error("other contents have the same revision")
	}
	if none, err := makeContents(nil, packedAs); err != nil || none.Revision == "" || len(none.Exports) != 0 {
		t.Errorf("for nobody: %+v, %v", none, err)
	}
}

// TestOffers: a node is told to mount what is there for it, and nothing else.
func TestOffers(t *testing.T) {
	img := published(t, "web", 7, nil)
	other := published(t, "web", 8, nil)
	web := user(t, "web", "10.77.0.20-10.77.0.21", roles.Role{Name: "web", State: []string{"/var/log"}, Volumes: []roles.VolumeMount{{Name: "www", Mount: "/srv"}}}, img)
	c, err := makeContents([]pairUser{web}, packedAs)
	if err != nil {
		t.Fatal(err)
	}
	need := func(slot string, address string, img *images.Image, dirs ...string) images.Need {
		n := images.Need{Root: img, Slot: slot, Address: netip.MustParseAddr(address)}
		for _, d := range dirs {
			n.Dirs = append(n.Dirs, images.Dir{Path: d})
		}
		return n
	}
	for name, c1 := range map[string]struct {
		need images.Need
		want bool
	}{
		"all":                   {need("web-01", "10.77.0.20", &img, "volumes/www", "state/web-01/var-log"), true},
		"in RAM":                {need("web-01", "10.77.0.20", nil, "state/web-01/var-log"), true},
		"another version":       {need("web-01", "10.77.0.20", &other), false},
		"another address":       {need("mail-01", "10.77.0.30", &img), false},
		"another one's state":   {need("web-02", "10.77.0.21", nil, "state/web-01/var-log"), false},
		"a directory not made":  {need("web-01", "10.77.0.20", nil, "state/web-01/var-lib"), false},
		"a volume not declared": {need("web-01", "10.77.0.20", nil, "volumes/mail"), false},
	} {
		if got := offersRoot(c, c1.need) && offersDirs(c, c1.need); got != c1.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestRootSquash: a volume is exported to each pool as its role says; who runs with a role of before keeps what it has.
func TestRootSquash(t *testing.T) {
	img := published(t, "web", 1, nil)
	www := roles.VolumeMount{Name: "www", Mount: "/srv"}
	squashed := www
	squashed.RootSquash = true
	a := user(t, "a", "10.77.0.20", roles.Role{Name: "a", State: []string{"/var/log"}, Volumes: []roles.VolumeMount{squashed}}, img)
	b := user(t, "b", "10.77.0.30", roles.Role{Name: "b", Volumes: []roles.VolumeMount{www}}, img)
	before := a
	before.role.Volumes = []roles.VolumeMount{www}
	exports := func(users ...pairUser) (out []string) {
		t.Helper()
		c, err := makeContents(users, packedAs)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Exports[1:] {
			out = append(out, fmt.Sprintf("%s%v%t", e.Path, e.Clients, e.NoRootSquash))
		}
		return out
	}
	root, state := "images/web/1[10.77.0.20/32 10.77.0.30/32]true", "state/a-01[10.77.0.20/32]true"
	for _, users := range [][]pairUser{{a, b}, {b, a}} {
		if d := cmp.Diff([]string{root, state, "volumes/www[10.77.0.30/32]true", "volumes/www[10.77.0.20/32]false"}, exports(users...)); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	if d := cmp.Diff([]string{root, state, "volumes/www[10.77.0.20/32 10.77.0.30/32]true"}, exports(a, b, before)); d != "" {
		t.Errorf("while a node of a runs as before: -want +got:\n%s", d)
	}
}
