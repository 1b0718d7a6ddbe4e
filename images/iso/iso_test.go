package iso

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"golang.org/x/sys/unix"

	"muster/images"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needs(t testing.TB, tools ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes other users' files and devices")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, b, 0o644))
}

const release = "6.1.0-1-amd64"

// bzImage is as much of a kernel as says its release.
func bzImage(release string) []byte {
	b := make([]byte, 8192)
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x1000)
	copy(b[0x1200:], release+" (debian-kernel@lists.debian.org) #1 SMP\x00")
	return b
}

// mksquashfs packs a root with the modules of a kernel, a setuid program with a capability, a hard link, and a
// device.
func mksquashfs(t testing.TB, path string, more ...string) {
	t.Helper()
	needs(t, "mksquashfs", "unsquashfs")
	root := t.TempDir()
	su := filepath.Join(root, "usr/bin/su")
	write(t, su, []byte("binary"))
	write(t, filepath.Join(root, "usr/lib/modules", release, "modules.dep"), nil)
	for _, name := range more {
		write(t, filepath.Join(root, name), []byte("more"))
	}
	must(t, os.Link(su, su+"2"))
	must(t, os.Chown(su, 5, 70000))
	must(t, unix.Chmod(su, 0o4711))
	must(t, unix.Setxattr(su, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(t, unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	if out, err := exec.Command("mksquashfs", root, path, "-noappend", "-no-progress", "-comp", "zstd").CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v: %s", err, out)
	}
}

// mkiso packs a directory.
func mkiso(t testing.TB, dir string, o iso9660.FinalizeOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "live.iso")
	b, err := file.CreateFromPath(path, 64<<20)
	must(t, err)
	fsys, err := iso9660.Create(b, 0, 0, sector, dir)
	must(t, err)
	o.VolumeIdentifier = "LIVE"
	must(t, fsys.Finalize(o)) // which removes dir
	must(t, b.Close())
	head := make([]byte, descriptor+sector)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.ReadAt(head, 0)
	must(t, err)
	must(t, f.Truncate(int64(binary.LittleEndian.Uint32(head[descriptor+80:]))*sector))
	must(t, f.Close())
	return path
}

var rockRidge = iso9660.FinalizeOptions{RockRidge: true}

func TestLive(t *testing.T) {
	for name, o := range map[string]iso9660.FinalizeOptions{"Rock Ridge": rockRidge, "and Joliet": {RockRidge: true, Joliet: true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mksquashfs(t, filepath.Join(dir, "live/filesystem.squashfs"))
			write(t, filepath.Join(dir, "live/vmlinuz-5.0"), bzImage("5.0"))
			write(t, filepath.Join(dir, "live/vmlinuz-"+release), bzImage(release))
			write(t, filepath.Join(dir, "live/vmlinuz-none"), []byte("text"))
			write(t, filepath.Join(dir, "other/big.squashfs"), make([]byte, 1<<20))
			path := mkiso(t, dir, o)
			b, err := os.ReadFile(path)
			must(t, err)
			root := t.TempDir()
			var log strings.Builder
			last := 0
			origin, err := Source{}.Fill(t.Context(), path, root, images.FillOptions{Log: &log, Progress: func(p int, _ string) { last = p }})
			if want := fmt.Sprintf("iso:%s:live/filesystem.squashfs@sha256:%x", path, sha256.Sum256(b)); err != nil || origin != want || last != 100 {
				t.Fatalf("Fill = %q, %v; want %q; last told %d %%\n%s", origin, err, want, last, log.String())
			}
			check(t, root)
			if k, err := os.ReadFile(filepath.Join(root, "boot/vmlinuz-"+release)); err != nil || string(k) != string(bzImage(release)) {
				t.Errorf("the kernel beside the root is not in it: %d bytes, %v", len(k), err)
			}
			if entries, err := os.ReadDir(filepath.Join(root, "boot")); err != nil || len(entries) != 1 {
				t.Errorf("/boot has %v, %v", entries, err)
			}
		})
	}
}

// check looks for what must not get lost.
func check(t testing.TB, root string) {
	t.Helper()
	var a, b, null unix.Stat_t
	must(t, unix.Lstat(filepath.Join(root, "usr/bin/su"), &a))
	must(t, unix.Lstat(filepath.Join(root, "usr/bin/su2"), &b))
	must(t, unix.Lstat(filepath.Join(root, "null"), &null))
	if a.Mode&0o7777 != 0o4711 || a.Uid != 5 || a.Gid != 70000 || a.Ino != b.Ino {
		t.Errorf("su: mode %o, owner %d:%d, links %d", a.Mode, a.Uid, a.Gid, a.Nlink)
	}
	if null.Rdev != unix.Mkdev(1, 3) || null.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Errorf("null: mode %o, device %d", null.Mode, null.Rdev)
	}
	if n, err := unix.Lgetxattr(filepath.Join(root, "usr/bin/su"), "security.capability", nil); err != nil || n != 20 {
		t.Errorf("su has %d bytes of capabilities, %v", n, err)
	}
}

func TestOtherPlaces(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		ask   string
		want  string
	}{
		"Ubuntu":        {[]string{"casper/a.squashfs", "casper/a.live.squashfs"}, "", "casper/a.squashfs"},
		"by name":       {[]string{"live/filesystem.squashfs", "casper/b.squashfs"}, ":casper/b.squashfs", "casper/b.squashfs"},
		"somewhere":     {[]string{"x/y/root.squashfs"}, "", "x/y/root.squashfs"},
		"Fedora, flat":  {[]string{"LiveOS/squashfs.img"}, "", "LiveOS/squashfs.img"},
		"absolute name": {[]string{"live/filesystem.squashfs"}, ":/live/filesystem.squashfs", "live/filesystem.squashfs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range test.files {
				mksquashfs(t, filepath.Join(dir, f), "name/"+f)
			}
			root := t.TempDir()
			if _, err := (Source{}).Fill(t.Context(), mkiso(t, dir, rockRidge)+test.ask, root, images.FillOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(root, "name", test.want)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadISOs(t *testing.T) {
	dir := t.TempDir()
	mksquashfs(t, filepath.Join(dir, "live/filesystem.squashfs"))
	good := mkiso(t, dir, rockRidge)
	b, err := os.ReadFile(good)
	must(t, err)
	path := func(name string, b []byte) string {
		p := filepath.Join(t.TempDir(), name)
		write(t, p, b)
		return p
	}
	pack := func(fill func(dir string)) string {
		dir := t.TempDir()
		fill(dir)
		return mkiso(t, dir, rockRidge)
	}
	damage := func(at int) []byte {
		c := append([]byte(nil), b...)
		for i := at; i < at+200; i++ {
			c[i] ^= 0xff
		}
		return c
	}
	squash := strings.Index(string(b), "hsqs")
	for what, test := range map[string]struct {
		says string
		kind error
	}{
		path("text.iso", make([]byte, 1<<20)):                                  {"it is not an ISO 9660 image", fs.ErrInvalid},
		path("short.iso", []byte("short")):                                     {"it is not an ISO 9660 image", fs.ErrInvalid},
		path("half.iso", b[:len(b)-2*sector]):                                  {"it is cut off: it has", fs.ErrInvalid},
		path("tables.iso", damage(descriptor+130)):                             {"the ISO is damaged", fs.ErrInvalid},
		path("squashfs.iso", damage(squash+40)):                                {"it is cut off", fs.ErrInvalid},
		path("inodes.iso", damage(len(b)-sector*3)):                            {"", nil},
		good + ":casper/none.squashfs":                                         {"it has no casper/none.squashfs, but live/filesystem.squashfs", fs.ErrNotExist},
		"/no/such.iso":                                                         {"no such file", fs.ErrNotExist},
		t.TempDir():                                                            {"want an ISO, a file", fs.ErrInvalid},
		pack(func(d string) { write(t, d+"/a", nil) }):                         {"there is no squashfs with a root in it", fs.ErrInvalid},
		pack(func(d string) { write(t, d+"/a.squashfs", make([]byte, 5000)) }): {"a.squashfs: it is not a squashfs", fs.ErrInvalid},
		pack(func(d string) { mksquashfs(t, d+"/LiveOS/squashfs.img", "LiveOS/rootfs.img") }): {"LiveOS/rootfs.img", errors.ErrUnsupported},
	} {
		root := t.TempDir()
		_, err := Source{}.Fill(t.Context(), what, root, images.FillOptions{})
		if test.kind == nil {
			continue // the damage may hit padding: it must only not panic
		}
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error with %q", what, err, test.says)
		}
		if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v, %v", what, left, err)
		}
	}
}

// TestDiskKeepsItsReserve: the disk is the one that the boot server writes its leases to, too.
func TestDiskKeepsItsReserve(t *testing.T) {
	dir := t.TempDir()
	mksquashfs(t, filepath.Join(dir, "live/filesystem.squashfs"))
	path := mkiso(t, dir, rockRidge)
	root := t.TempDir()
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, "size=200m"))
	t.Cleanup(func() { must(t, unix.Unmount(root, 0)) })
	_, err := Source{}.Fill(t.Context(), path, root, images.FillOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "must stay free") || strings.Contains(err.Error(), "\n") {
		t.Errorf("Fill = %v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func TestFillEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	mksquashfs(t, filepath.Join(dir, "live/filesystem.squashfs"))
	path := mkiso(t, dir, rockRidge)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Source{}.Fill(ctx, path, t.TempDir(), images.FillOptions{Progress: func(int, string) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Fill = %v", err)
	}
	// Both who unpacks and who reads for the digest end with it.
	if _, err = (Source{}).Fill(ctx, path, t.TempDir(), images.FillOptions{}); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Fill = %q", err)
	}
}

// FuzzDisc reads anything as an ISO: it never panics.
func FuzzDisc(f *testing.F) {
	dir := f.TempDir()
	write(f, filepath.Join(dir, "live/filesystem.squashfs"), []byte("hsqs"))
	b, err := os.ReadFile(mkiso(f, dir, rockRidge))
	must(f, err)
	f.Add(b[descriptor:])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.iso")
		write(t, path, append(make([]byte, descriptor), b...))
		d, err := open(path)
		if err != nil {
			return
		}
		defer d.Close()
		files, err := d.list()
		if err != nil {
			return
		}
		for _, e := range files {
			_, _ = d.squashfs(e)
			_, _ = kernelRelease(d.open(e))
		}
	})
}
