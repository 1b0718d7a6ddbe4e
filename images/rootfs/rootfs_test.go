package rootfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes other users' files and devices")
	}
}

// makeRoot makes a tree with everything that a root may have.
func makeRoot(t testing.TB) string {
	t.Helper()
	needsRoot(t)
	root := filepath.Join(t.TempDir(), "source")
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.MkdirAll(at("usr/bin"), 0o755))
	must(t, os.WriteFile(at("usr/bin/su"), []byte("binary"), 0o755))
	must(t, os.Link(at("usr/bin/su"), at("usr/bin/su2")))
	must(t, os.Symlink("../../outside", at("usr/link")))
	must(t, os.Symlink("/usr/bin", at("bin")))
	must(t, unix.Mkfifo(at("fifo"), 0o640))
	must(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.WriteFile(at("raw\xff\nname"), []byte("bytes"), 0o600))
	must(t, os.Mkdir(at("tmp"), 0o755))
	must(t, os.WriteFile(at("empty"), nil, 0o644))
	must(t, os.Lchown(at("usr/link"), 5, 6))
	must(t, os.Chown(at("usr/bin/su"), 7, 70000))
	must(t, unix.Chmod(at("usr/bin/su"), 0o4711)) // after chown, which takes it away
	must(t, unix.Chmod(at("tmp"), 0o1777))
	must(t, unix.Setxattr(at("usr/bin/su"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	must(t, unix.Setxattr(at("usr"), "user.a", []byte("1\x002"), 0))
	f, err := os.Create(at("sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("far"), 1<<30)
	must(t, errors.Join(err, f.Truncate(3<<30), f.Close()))
	for _, name := range []string{"usr/bin/su", "usr/link", "usr/bin", "usr", "."} {
		ts := unix.Timespec{Sec: 1_234_567_890, Nsec: 123_456_789}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, at(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
	return root
}

// describe lists a tree with all that must be kept.
func describe(t testing.TB, root string) []string {
	t.Helper()
	var all []string
	seen := map[uint64]string{}
	must(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		dir, err := os.Open(filepath.Dir(p))
		must(t, err)
		defer dir.Close()
		m, st, err := unpack.MetaAt(int(dir.Fd()), filepath.Base(p))
		must(t, err)
		line := fmt.Sprintf("%q %o %d:%d %v %d:%d", strings.TrimPrefix(p, root), st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec)
		for k, v := range m.Xattrs {
			line += fmt.Sprintf(" %s=%q", k, v)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			to, err := os.Readlink(p)
			must(t, err)
			line += " -> " + to
		case unix.S_IFREG:
			line += fmt.Sprintf(" %d on disk %t", st.Size, st.Blocks*512 >= 1<<20)
			if st.Size < 1<<20 {
				b, err := os.ReadFile(p)
				must(t, err)
				line += fmt.Sprintf(" %q", b)
			}
			if first, has := seen[st.Ino]; has {
				line += " is " + first
			}
			seen[st.Ino] = strings.TrimPrefix(p, root)
		}
		all = append(all, line)
		return nil
	}))
	return all
}

func TestDirKeepsEverything(t *testing.T) {
	src := makeRoot(t)
	dst := t.TempDir()
	var log bytes.Buffer
	last := 0
	origin, err := Dir{}.Fill(t.Context(), src, dst, images.FillOptions{Log: &log, Progress: func(p int, _ string) { last = p }})
	if err != nil || origin != "dir:"+src || last == 0 {
		t.Errorf("Fill = %q, %v; last told %d %%", origin, err, last)
	}
	if d := cmp.Diff(describe(t, src), describe(t, dst)); d != "" {
		t.Error(d)
	}
	if log.Len() > 0 {
		t.Errorf("the log has %q", log.String())
	}
}

func TestDirLeavesOut(t *testing.T) {
	src := makeRoot(t)
	must(t, os.Mkdir(filepath.Join(src, "mnt"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(src, "mnt"), "tmpfs", 0, "mode=711"))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(src, "mnt"), 0)) })
	must(t, os.WriteFile(filepath.Join(src, "mnt/secret"), []byte("x"), 0o600))
	must(t, unix.Mount(filepath.Join(src, "usr/bin/su"), filepath.Join(src, "empty"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(src, "empty"), 0)) })
	l, err := net.Listen("unix", filepath.Join(src, "socket"))
	must(t, err)
	defer l.Close()
	dst := t.TempDir()
	var log bytes.Buffer
	if _, err := (Dir{}).Fill(t.Context(), src, dst, images.FillOptions{Log: &log}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dst, "mnt"))
	info, _ := os.Stat(filepath.Join(dst, "mnt"))
	if err != nil || len(entries) > 0 || info.Mode().Perm() != 0o711 {
		t.Errorf("the mount has %v, %v, %v", entries, err, info)
	}
	if b, err := os.ReadFile(filepath.Join(dst, "empty")); err != nil || len(b) > 0 {
		t.Errorf("the mounted file has %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(dst, "socket")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket was copied: %v", err)
	}
	for _, want := range []string{`"mnt" is a mount`, `"empty" is a mount`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s: %q", want, log.String())
		}
	}
}

// TestShareOfAFile: what is removed at the same moment has no name left, and FUSE file systems may say so of any file.
func TestShareOfAFile(t *testing.T) {
	for names, want := range map[uint64]int64{0: 4096, 1: 4096, 2: 2048} {
		if got := share(unix.Stat_t{Blocks: 8, Nlink: names}); got != want {
			t.Errorf("of a file with %d names: %d, want %d", names, got, want)
		}
	}
}

// TestDirThatChanges changes and removes files while the copy reads them.
func TestDirThatChanges(t *testing.T) {
	needsRoot(t)
	src, dst := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		must(t, os.WriteFile(filepath.Join(src, name), bytes.Repeat([]byte(name), 20<<20), 0o644))
	}
	changed := 0
	_, err := Dir{}.Fill(t.Context(), src, dst, images.FillOptions{Progress: func(int, string) {
		changed++
		for _, name := range []string{"a", "b", "c"} { // each time shorter, as a log that is turned over
			_ = os.Truncate(filepath.Join(src, name), int64(20<<20>>changed))
		}
		_ = os.Remove(filepath.Join(src, "c"))
	}})
	if err != nil || changed == 0 {
		t.Fatalf("Fill = %v after %d changes", err, changed)
	}
	for _, name := range []string{"a", "b"} {
		now, err := os.Stat(filepath.Join(src, name))
		must(t, err)
		if info, err := os.Stat(filepath.Join(dst, name)); err != nil || info.Size() < now.Size() || info.Size() > 20<<20 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestDirRefusals(t *testing.T) {
	needsRoot(t)
	outer := t.TempDir()
	inner := filepath.Join(outer, "images/web/tree")
	must(t, os.MkdirAll(inner, 0o755))
	f := filepath.Join(outer, "file")
	must(t, os.WriteFile(f, nil, 0o644))
	for what, test := range map[string]struct {
		says string
		kind error
	}{
		outer:           {"the images themselves", fs.ErrInvalid},
		f:               {"not a directory", nil},
		"/no/directory": {"no such file", fs.ErrNotExist},
	} {
		_, err := Dir{}.Fill(t.Context(), what, inner, images.FillOptions{})
		if err == nil || !strings.Contains(err.Error(), test.says) || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%s: %v, want an error with %q", what, err, test.says)
		}
	}
}

func TestTarKeepsEverything(t *testing.T) {
	src := makeRoot(t)
	tarPath, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("needs tar: it writes the archive")
	}
	for _, flags := range [][]string{{"-cSf"}, {"-cSzf"}, {"-cSJf"}} {
		archive := filepath.Join(t.TempDir(), "root.tar")
		args := append(flags, archive, "--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name", "-C", src, ".")
		if out, err := exec.Command(tarPath, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(archive)
		must(t, err)
		dst := t.TempDir()
		last := 0
		origin, err := Tar{}.Fill(t.Context(), archive, dst, images.FillOptions{Progress: func(p int, _ string) { last = p }})
		if want := fmt.Sprintf("tar:%s@sha256:%x", archive, sha256.Sum256(b)); err != nil || origin != want || last != 100 {
			t.Errorf("%v: Fill = %q, %v; want %q; last told %d %%", flags, origin, err, want, last)
		}
		if d := cmp.Diff(describe(t, src), describe(t, dst)); d != "" {
			t.Error(flags, d)
		}
	}
}

func TestTarRefusals(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, b, 0o644))
		return path
	}
	pack := func(names ...string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, n := range names {
			must(t, w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644}))
		}
		must(t, w.Close())
		return b.Bytes()
	}
	for what, test := range map[string]struct {
		says string
		kind error
	}{
		write("evil.tar", pack("ok", "../../etc/passwd")):                       {`"../../etc/passwd": leads out`, fs.ErrInvalid},
		write("text", bytes.Repeat([]byte("text"), 1000)):                       {"not a tar archive", fs.ErrInvalid},
		write("empty.tar", pack()):                                              {"it is empty", fs.ErrInvalid},
		write("nothing", nil):                                                   {"it is empty", fs.ErrInvalid},
		write("saved.tar", pack("manifest.json", "oci-layout", "blobs/sha256")): {"use oci-layout:", fs.ErrInvalid},
		dir:            {"want an archive, a file", fs.ErrInvalid},
		"/no/such.tar": {"no such file", fs.ErrNotExist},
	} {
		dst := t.TempDir()
		_, err := Tar{}.Fill(t.Context(), what, dst, images.FillOptions{})
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want an error with %q", what, err, test.says)
		}
		if left, err := os.ReadDir(dst); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v, %v", what, left, err)
		}
	}
}
