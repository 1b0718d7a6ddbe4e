package pair

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

// stores give images: fixed ones, by reference.
type fixedStore map[string]string

func (s fixedStore) Fetch(ctx context.Context, ref string, from agent.RAMRoot, file *os.File) error {
	content, ok := s[ref]
	if !ok {
		return errors.New("seal of " + ref + ": its signature is not by the key of this boot")
	}
	_, err := file.WriteAt([]byte(content), 0)
	return err
}

// active is a half that serves.
func active(t *testing.T) *half {
	h := newHalf(t)
	h.f.addMount(Device + " " + h.f.root + Volume + " ext4 rw")
	h.f.addrs[testConfig.Floating.Addr()] = "eth0"
	h.f.file(ServingFile, "")
	h.started(drbd{connection: "Connected", role: "Primary", peerRole: "Secondary", disk: "UpToDate", peerDisk: "UpToDate"})
	h.Store = fixedStore{"web:7": "hsqs", "web:8": "hsq8"}
	return h
}

func mode(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	return st.Mode().String()
}

func TestContents(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: directories get owners")
	}
	h := active(t)
	c := testContents
	if err := h.makeContents(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r := h.look(t.Context())
	if !r.Active || r.Revision != "r1" || !slices.Equal(r.Images, []string{"web:7"}) || r.Capacity != 1<<30 || r.Used != 1<<20 {
		t.Errorf("%+v", r)
	}
	volume := h.f.root + Volume
	for path, want := range map[string]string{
		"/volumes/www": "drwxr-x---", "/state/web-01": "drwxr-xr-x", "/state/web-01/var-log": "dgrwxr-xr-x",
		"/images/web/7.squashfs": "-rw-------",
	} {
		if got := mode(t, volume+path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if kept, err := h.machine.kept(); err != nil || cmp.Diff(c, kept, cmp.Comparer(samePrefix)) != "" {
		t.Errorf("kept %+v, %v", kept, err)
	}

	// What is there stays as it is; what is listed no more goes, but for data.
	if err := os.Chmod(volume+"/volumes/www", 0o711); err != nil {
		t.Fatal(err)
	}
	h.f.did()
	c.Revision, c.Exports = "r2", slices.Clone(c.Exports[:3])
	c.Images = []Image{{Name: "web", Version: 8, Squashfs: "/8", Seal: "/8.seal", Size: 4}}
	c.Exports[1].Path = "images/web/8"
	if err := h.makeContents(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, volume+"/volumes/www"); got != "drwx--x--x" {
		t.Errorf("a directory that was there: %s", got)
	}
	if got, _ := filepath.Glob(volume + "/images/web/*"); len(got) != 1 || filepath.Base(got[0]) != "8.squashfs" {
		t.Errorf("images: %q", got)
	}
	if got := strings.Join(h.f.mountPoints(), "\n"); strings.Contains(got, "web/7") || strings.Contains(got, "www") || !strings.Contains(got, "web/8") {
		t.Errorf("mounts:\n%s", got)
	}
	if r = h.look(t.Context()); r.Revision != "r2" || !slices.Equal(r.Images, []string{"web:8"}) {
		t.Errorf("%+v", r)
	}
}

func samePrefix(a, b Export) bool {
	return a.Path == b.Path && a.ReadOnly == b.ReadOnly && slices.Equal(a.Clients, b.Clients)
}

func TestContentsThatFailDoNotKeepTheRestBack(t *testing.T) {
	h := active(t)
	h.f.dir(Volume + "/state/web-01")
	c := Contents{Revision: "r1", Exports: testContents.Exports, Dirs: []Dir{
		{Path: "volumes/www", Mode: 0o755, UID: os.Getuid(), GID: os.Getgid()}, {Path: "../etc", Mode: 0o777}, {Path: "state/.muster", Mode: 0o777},
	}}
	c.Images = []Image{
		{Name: "bad", Version: 1, Squashfs: "/b", Seal: "/s", Size: 4}, {Name: "huge", Version: 1, Squashfs: "/b", Seal: "/s", Size: 1 << 41},
		{Name: "big", Version: 1, Squashfs: "/b", Seal: "/s", Size: 1 << 40}, testContents.Images[0],
	}
	err := h.makeContents(t.Context(), c)
	for _, want := range []string{"signature", "big:1 has", "huge:1 has", `"../etc"`, `"state/.muster"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
	if r := h.look(t.Context()); r.Revision != "" || !slices.Equal(r.Images, []string{"web:7"}) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(h.f.read(exportsFile), "volumes/www") {
		t.Error("the rest was not exported")
	}
	if _, err := os.Stat(h.f.root + Volume + "/images/bad/1.squashfs"); err == nil {
		t.Error("a bad image is offered")
	}

	// It goes on where it was, when the image can be had.
	h.Store = fixedStore{"web:7": "hsqs", "bad:1": "hsqb"}
	c.Images, c.Dirs = []Image{c.Images[0], c.Images[3]}, nil
	if err := h.makeContents(t.Context(), c); err != nil {
		t.Error(err)
	}
	if r := h.look(t.Context()); r.Revision != "r1" || len(r.Images) != 2 {
		t.Errorf("%+v", r)
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a b", "a\nb", "-x", ".x", "a(rw)", `a"b`, "a*", strings.Repeat("a", 300)} {
		i := Image{Name: name, Version: 1, Size: 1}
		if _, err := offers(Contents{Images: []Image{i}}); err == nil {
			t.Errorf("image %q is taken", name)
		}
		if _, err := offers(Contents{Exports: []Export{{Path: "volumes/" + name}}}); err == nil && name != "a/b" {
			t.Errorf("export %q is taken", name)
		}
	}
	for _, p := range []string{"/etc", "volumes//www", "volumes/../..", "volumes/./x", "volumes/", "."} {
		if _, err := offers(Contents{Exports: []Export{{Path: p}}}); err == nil {
			t.Errorf("export %q is taken", p)
		}
	}
}

func TestStopEndsADownload(t *testing.T) {
	h := active(t)
	h.Store = storeFunc(func(ctx context.Context) error {
		if err := os.Remove(h.f.root + ServingFile); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err := h.makeContents(t.Context(), Contents{Revision: "r", Images: testContents.Images}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type storeFunc func(ctx context.Context) error

func (s storeFunc) Fetch(ctx context.Context, _ string, _ agent.RAMRoot, _ *os.File) error {
	return s(ctx)
}

func TestNestedExports(t *testing.T) {
	h := active(t)
	h.f.dir(Volume + "/state/web-01/var-log")
	_, _, err := h.machine.export(t.Context(), Contents{Exports: []Export{
		{Path: "state/web-01", Clients: prefixes("10.77.0.21/32")}, {Path: "state/web-01/var-log", Clients: prefixes("10.77.0.22/32")},
	}})
	if err == nil || !strings.Contains(err.Error(), "lies in state/web-01") {
		t.Errorf("got %v", err)
	}
	if got := h.f.read(exportsFile); strings.Contains(got, "var-log") || !strings.Contains(got, "state/web-01 ") {
		t.Errorf("it exports:\n%s", got)
	}
}

func TestDirsFollowNoLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/v/state/web-01", 0o755), os.Mkdir(dir+"/outside", 0o755),
		os.Symlink("../../../outside", dir+"/v/state/web-01/var"), os.Symlink("/", dir+"/v/volumes"), os.Mkdir(dir+"/v/state/web-03", 0o755), os.Symlink("../web-03", dir+"/v/state/web-01/lib"), os.WriteFile(dir+"/v/file", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	volume, err := os.Open(dir + "/v")
	if err != nil {
		t.Fatal(err)
	}
	defer volume.Close()
	for _, p := range []string{"state/web-01/var/log", "state/web-01/var", "state/web-01/lib/x", "volumes/x", "file", "file/x"} {
		if err := makeDir(volume, Dir{Path: p, Mode: 0o755, UID: os.Getuid(), GID: os.Getgid()}); err == nil {
			t.Errorf("%s was made", p)
		}
	}
	if left, _ := os.ReadDir(dir + "/outside"); len(left) > 0 {
		t.Errorf("it made %v outside", left)
	}
	// What a crash has left is no obstacle.
	if err := os.Mkdir(dir+"/v/state/.muster-new-web-02", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makeDir(volume, Dir{Path: "state/web-02", Mode: 0o2750, UID: os.Getuid(), GID: os.Getgid()}); err != nil {
		t.Error(err)
	}
	if got := mode(t, dir+"/v/state/web-02"); got != "dgrwxr-x---" {
		t.Errorf("its mode is %s", got)
	}
}

// An exportfs that failed is run again, though its file is as it should be.
func TestExportfsAgain(t *testing.T) {
	h := active(t)
	h.f.dir(Volume + "/volumes/www")
	var fails error
	h.f.program("exportfs", func([]string) (string, error) { return "", fails })
	c := Contents{Exports: []Export{{Path: "volumes/www", Clients: prefixes("10.77.0.21/32")}}}
	count := func() (n int) {
		for _, s := range h.f.did() {
			if s == "exportfs -ra" {
				n++
			}
		}
		return n
	}
	for i, tt := range []struct {
		fails error
		more  string
		want  int
	}{{nil, "10.77.0.22/32", 1}, {nil, "10.77.0.22/32", 0}, {errors.New("no"), "10.77.0.23/32", 1}, {nil, "10.77.0.23/32", 1}, {nil, "10.77.0.23/32", 0}} {
		fails = tt.fails
		c.Exports[0].Clients = prefixes("10.77.0.21/32", tt.more)
		_, _, err := h.machine.export(t.Context(), c)
		if n := count(); n != tt.want || (err == nil) != (tt.fails == nil) {
			t.Errorf("%d: exportfs ran %d times, want %d; %v", i, n, tt.want, err)
		}
	}
}

// What a download that broke off has on the volume already needs no room once more.
func TestRoomForTheRestOfAnImage(t *testing.T) {
	h := active(t)
	const size = 600 << 20
	h.System = fullMachine{h.f, 1 << 30, 1<<30 - 500<<20} // 500 MiB are free
	h.machine.sys = h.System
	h.f.dir(Volume + "/images/web")
	part, err := os.Create(h.f.root + Volume + "/images/web/7.squashfs.part")
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	i := Image{Name: "web", Version: 7, Squashfs: "/7", Seal: "/7.seal", Size: size}
	if err := part.Truncate(size); err != nil { // as Fetch leaves it: with a hole
		t.Fatal(err)
	}
	if err := h.load(t.Context(), i); !errors.Is(err, errNoSpace) {
		t.Errorf("without room: %v", err)
	}
	if err := unix.Fallocate(int(part.Fd()), 0, 0, 200<<20); err != nil {
		t.Skip("needs room and fallocate(2) for temporary files")
	}
	if err := h.load(t.Context(), i); err != nil {
		t.Errorf("with 200 MiB of 600 there and 500 free: %v", err)
	}
}

type fullMachine struct {
	*fakeMachine
	total, used int64
}

func (f fullMachine) Capacity(string) (total, used int64, err error) { return f.total, f.used, nil }

// The half that serves no more has no contents to complain of.
func TestPassiveHalfHasNoContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := active(t)
		h.Store = storeFunc(func(ctx context.Context) error {
			if err := os.Remove(h.f.root + ServingFile); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		h.contents = Contents{Revision: "r", Images: testContents.Images}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.keepContents(ctx) // ends with ctx
		for range 5 {
			signal(h.fill)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if errs := h.errors(); len(errs) > 0 {
			t.Errorf("it says %q", errs)
		}
	})
}

// The boot server hears that directories and exports are as it wanted, while an image is still on its way.
func TestRevisionDoesNotWaitForImages(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: directories get owners")
	}
	h := active(t)
	c := testContents
	c.Images = append(slices.Clone(c.Images), Image{Name: "web", Version: 8, Squashfs: "/8", Seal: "/8.seal", Size: 4})
	h.f.file(Volume+"/images/web/7.squashfs", "hsqs")
	loading, want := false, "r1"
	h.Store = storeFunc(func(context.Context) error {
		loading = true
		if r := h.look(t.Context()); r.Revision != want || !slices.Equal(r.Images, []string{"web:7"}) {
			t.Errorf("while it loads: %q, %q", r.Revision, r.Images)
		}
		return errors.New("no server")
	})
	if err := h.makeContents(t.Context(), c); err == nil || !loading {
		t.Errorf("it is not said: %v", err)
	}
	if r := h.look(t.Context()); r.Revision != "r1" || !slices.Equal(r.Images, []string{"web:7"}) {
		t.Errorf("after it failed: %q, %q", r.Revision, r.Images)
	}
	// Nothing that a directory lacks is called done.
	want = ""
	c.Revision, c.Dirs = "r2", append(slices.Clone(c.Dirs), Dir{Path: "../etc", Mode: 0o755})
	if err := h.makeContents(t.Context(), c); err == nil {
		t.Error("a directory outside was made")
	}
	if r := h.look(t.Context()); r.Revision != "" {
		t.Errorf("without a directory: %q", r.Revision)
	}
}

// An image that failed is tried again soon, though the revision is reported.
func TestImageIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := active(t)
		begin, tries := time.Now(), []time.Duration(nil)
		h.Store = storeFunc(func(context.Context) error {
			tries = append(tries, time.Since(begin).Round(time.Second))
			return errors.New("no server")
		})
		h.contents = Contents{Revision: "r", Images: testContents.Images}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.keepContents(ctx) // ends with ctx
		for range 13 {
			signal(h.fill)
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if !slices.Equal(tries, []time.Duration{0, refill, 2 * refill}) {
			t.Errorf("tried at %v", tries)
		}
		// Other contents do not wait for that.
		h.mu.Lock()
		h.contents.Revision = "r2"
		h.mu.Unlock()
		signal(h.fill)
		synctest.Wait()
		if r := h.look(t.Context()); r.Revision != "r2" {
			t.Errorf("new contents: %q", r.Revision)
		}
	})
}

// Directories that somebody waits for do not wait for all images of before.
func TestNewContentsBetweenImages(t *testing.T) {
	h := active(t)
	h.f.file(Volume+"/images/web/9.squashfs", "hsq9")
	c := Contents{Revision: "r1", Images: []Image{
		{Name: "web", Version: 7, Squashfs: "/7", Seal: "/7.seal", Size: 4}, {Name: "web", Version: 8, Squashfs: "/8", Seal: "/8.seal", Size: 4},
	}}
	h.contents = c
	tries := 0
	h.Store = storeFunc(func(context.Context) error {
		tries++
		h.mu.Lock()
		defer h.mu.Unlock()
		h.contents = Contents{Revision: "r2", Images: append(slices.Clone(c.Images), Image{Name: "web", Version: 9, Squashfs: "/9", Seal: "/9.seal", Size: 4})}
		return errors.New("no server")
	})
	if err := h.makeContents(t.Context(), c); err == nil || tries != 1 {
		t.Errorf("%d images were tried, %v", tries, err)
	}
	if got := h.f.read(Volume + "/images/web/9.squashfs"); got != "hsq9" {
		t.Error("an image was deleted that the new contents list")
	}
}
