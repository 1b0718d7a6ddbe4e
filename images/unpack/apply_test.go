package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes other users' files and devices")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// item is one entry of a test's archive: a header, whose zero type is a file, or a directory when the name
// ends with a slash, and its content.
type item struct {
	tar.Header
	content string
}

func file(name, content string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
}

func dir(name string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

func symlink(name, to string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}, ""}
}

func link(name, to string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}, ""}
}

// pack makes an archive.
func pack(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.Header
		h.Size = int64(len(i.content))
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_000_000_000, 0)
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, i.content)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// scene is a root in a directory that it must not leave.
type scene struct {
	t           testing.TB
	outer, root string
}

func newScene(t testing.TB) scene {
	needsRoot(t)
	outer := t.TempDir()
	s := scene{t, outer, filepath.Join(outer, "root")}
	must(t, os.Mkdir(s.root, 0o755))
	must(t, os.WriteFile(filepath.Join(outer, "passwd"), []byte("host"), 0o644))
	return s
}

// apply applies archives one after the other.
func (s scene) apply(o Options, archives ...[]byte) error {
	s.t.Helper()
	r, err := Open(s.root)
	must(s.t, err)
	defer r.Close()
	for _, a := range archives {
		if _, err := r.Apply(context.Background(), bytes.NewReader(a), o); err != nil {
			return err
		}
	}
	return nil
}

// tree lists the root: "name" of directories with a slash, "name=content", "name->target".
func (s scene) tree() []string {
	s.t.Helper()
	var all []string
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == s.root {
			return err
		}
		name := strings.TrimPrefix(p, s.root+"/")
		switch d.Type() {
		case fs.ModeDir:
			name += "/"
		case fs.ModeSymlink:
			to, err := os.Readlink(p)
			must(s.t, err)
			name += "->" + to
		case 0:
			b, err := os.ReadFile(p)
			must(s.t, err)
			name += "=" + string(b)
		default:
			name += " " + d.Type().String()
		}
		all = append(all, name)
		return nil
	})
	must(s.t, err)
	slices.Sort(all)
	return all
}

// unharmed checks that nothing but the root changed.
func (s scene) unharmed() {
	s.t.Helper()
	entries, err := os.ReadDir(s.outer)
	must(s.t, err)
	if b, err := os.ReadFile(filepath.Join(s.outer, "passwd")); err != nil || string(b) != "host" || len(entries) != 2 {
		s.t.Errorf("outside of the root: %q, %v, %v", b, err, entries)
	}
}

func TestEverythingArrives(t *testing.T) {
	s := newScene(t)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_bind_service=ep
	long := strings.Repeat("x", 200) + "/" + strings.Repeat("y", 200)
	at := time.Unix(1_234_567_890, 123_456_789)
	archive := pack(t,
		item{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711}, ""},
		item{tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o2750, Uid: 5, Gid: 70000, ModTime: at, Format: tar.FormatPAX}, ""},
		item{tar.Header{Name: "usr/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 1, Gid: 2, ModTime: at, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.a": "1\x002"}}, "binary"},
		link("usr/su2", "usr/su"),
		symlink("etc", "../../outside"),
		item{tar.Header{Name: "fifo", Typeflag: tar.TypeFifo, Mode: 0o640, Uid: 7}, ""},
		item{tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		item{tar.Header{Name: "sda", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8, Devminor: 300}, ""},
		file(long, "long"),
		item{tar.Header{Name: "raw\xff\n\x01", Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatGNU}, "bytes"},
		link("etc2", "etc"),
		file(".wh.usr", "no whiteout"),
	)
	must(t, s.apply(Options{}, archive))
	want := []string{
		".wh.usr=no whiteout", "etc->../../outside", "etc2->../../outside", "fifo p---------", "null Dc---------", "raw\xff\n\x01=bytes",
		"sda D---------", "usr/", "usr/su2=binary", "usr/su=binary", strings.Repeat("x", 200) + "/", long + "=long",
	}
	if d := cmp.Diff(want, s.tree()); d != "" {
		t.Error(d)
	}
	stat := func(name string) (st unix.Stat_t) {
		must(t, unix.Lstat(filepath.Join(s.root, name), &st))
		return st
	}
	for name, want := range map[string]string{
		".": "40711 0:0", "usr": "42750 5:70000", "usr/su": "104755 1:2", "fifo": "10640 7:0", "null": "20666 0:0", "sda": "60660 0:0",
	} {
		st := stat(name)
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"usr", "usr/su"} {
		if st := stat(name); time.Unix(st.Mtim.Unix()).UnixNano() != at.UnixNano() {
			t.Errorf("%s has the time %v, want %v", name, st.Mtim, at)
		}
	}
	if a, b := stat("usr/su"), stat("usr/su2"); a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("the hard link is another file: %v, %v", a, b)
	}
	if st := stat("sda"); unix.Major(st.Rdev) != 8 || unix.Minor(st.Rdev) != 300 {
		t.Errorf("sda is %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	buf := make([]byte, 100)
	for name, want := range map[string]string{"security.capability": capability, "user.a": "1\x002"} {
		if n, err := unix.Lgetxattr(filepath.Join(s.root, "usr/su"), name, buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%s = %q, %v; want %q", name, buf[:max(n, 0)], err, want)
		}
	}
	s.unharmed()
}

// TestForeignAttributes: what another file system or overlay keeps in attributes is left there, and is no reason to
// fail: every file of an NFS version 4 mount has one.
func TestForeignAttributes(t *testing.T) {
	s := newScene(t)
	records := map[string]string{
		"SCHILY.xattr.system.nfs4_acl": "\x00", "SCHILY.xattr.system.cifs_acl": "\x00", "SCHILY.xattr.btrfs.compression": "zstd",
		"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.kept": "1",
	}
	must(t, s.apply(Options{}, pack(t, item{tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: records}, "x"})))
	names := make([]byte, 1<<10)
	n, err := unix.Llistxattr(filepath.Join(s.root, "a"), names)
	if err != nil || string(names[:n]) != "user.kept\x00" {
		t.Errorf("attributes %q, %v", names[:max(n, 0)], err)
	}
}

// acl is an ACL that gives the user 1000 everything, as an extended attribute (linux/posix_acl_xattr.h).
const acl = "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\xe8\x03\x00\x00" +
	"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"

// TestACLsAreNotInherited: what a directory has for those made in it later is none of what was in it already, and
// neither is what the directory has that the root lies in.
func TestACLsAreNotInherited(t *testing.T) {
	s := newScene(t)
	must(t, unix.Setxattr(s.root, "system.posix_acl_default", []byte(acl), 0))
	journal := item{tar.Header{Name: "journal", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.system.posix_acl_default": acl, "SCHILY.xattr.system.posix_acl_access": acl}}, ""}
	must(t, s.apply(Options{}, pack(t, journal, file("journal/a", "x"), dir("journal/b"), dir("c"), file("c/d", "x"), file("e", "x")), pack(t, file("journal/f", "x"))))
	for name, want := range map[string]string{
		"journal": "system.posix_acl_access system.posix_acl_default", "journal/a": "", "journal/b": "", "journal/f": "", "c": "", "c/d": "", "e": "",
	} {
		names := make([]byte, 1<<10)
		n, err := unix.Llistxattr(filepath.Join(s.root, name), names)
		must(t, err)
		got := strings.Fields(strings.ReplaceAll(string(names[:n]), "\x00", " "))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
		if info, err := os.Lstat(filepath.Join(s.root, name)); err != nil || !info.IsDir() && info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestACLsAsText: what tar --acls writes is not kept, and the log says so where it says more than the mode.
func TestACLsAsText(t *testing.T) {
	s := newScene(t)
	with := func(name, text string) item {
		return item{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, PAXRecords: map[string]string{"SCHILY.acl.access": text}}, ""}
	}
	var log bytes.Buffer
	must(t, s.apply(Options{Log: &log}, pack(t, with("plain", "user::rw-\ngroup::r--\nother::r--\n"), with("more", "user::rw-\nuser:1000:rwx\ngroup::r--\nmask::rwx\nother::r--\n"))))
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"more": SCHILY.acl.access is not kept: `) {
		t.Errorf("the log has %q", got)
	}
}

func TestNothingLeavesTheRoot(t *testing.T) {
	for name, test := range map[string]struct {
		items []item
		tree  []string // nil: it is refused
		says  string
	}{
		"dots":                     {[]item{file("../passwd", "evil")}, nil, `"../passwd": leads out`},
		"dots in the middle":       {[]item{dir("a"), file("a/../../passwd", "evil")}, nil, "leads out"},
		"harmless dots":            {[]item{file("a/../b", "x")}, []string{"b=x"}, ""},
		"absolute":                 {[]item{file("/passwd", "x")}, []string{"passwd=x"}, ""},
		"absolute link to parent":  {[]item{symlink("a", "/"), file("a/passwd", "x")}, []string{"a->/", "passwd=x"}, ""},
		"relative link to parent":  {[]item{symlink("a", ".."), file("a/passwd", "x")}, []string{"a->..", "passwd=x"}, ""},
		"chain of links":           {[]item{symlink("a", "b/.."), symlink("b", "../.."), file("a/passwd", "x")}, []string{"a->b/..", "b->../..", "passwd=x"}, ""},
		"dangling link":            {[]item{symlink("var", "/../run/x"), file("var/f", "x")}, []string{"run/", "run/x/", "run/x/f=x", "var->/../run/x"}, ""},
		"link to itself":           {[]item{symlink("a", "a"), file("a/f", "x")}, nil, "too many levels"},
		"file over a link":         {[]item{symlink("a", "../passwd"), file("a", "x")}, []string{"a=x"}, ""},
		"directory over a link":    {[]item{symlink("a", ".."), dir("a"), file("a/passwd", "x")}, []string{"a/", "a/passwd=x"}, ""},
		"hard link out":            {[]item{link("a", "../passwd")}, nil, "leads out"},
		"hard link through a link": {[]item{symlink("a", ".."), link("b", "a/passwd")}, nil, "not there before it"},
		"hard link to a link":      {[]item{symlink("a", "../passwd"), link("b", "a"), file("b", "x")}, []string{"a->../passwd", "b=x"}, ""},
		"hard link to a directory": {[]item{dir("a"), link("b", "a")}, nil, "is a directory"},
		"write through hard link":  {[]item{file("a", "1"), link("b", "a"), file("b", "2")}, []string{"a=1", "b=2"}, ""},
		"hard link to itself":      {[]item{file("a", "1"), link("a", "a")}, []string{"a=1"}, ""},
		"file under a file":        {[]item{file("a", "1"), file("a/b", "2")}, nil, "not a directory"},
		"file over a directory":    {[]item{dir("a"), file("a/b", "1"), file("a", "2")}, []string{"a=2"}, ""},
		"root as a link":           {[]item{symlink(".", "..")}, nil, "the root is a directory"},
		"root as a file":           {[]item{file("a/..", "x")}, nil, "the root is a directory"},
		"proc":                     {[]item{symlink("a", "/proc/self/cwd"), file("a/f", "x")}, []string{"a->/proc/self/cwd", "proc/", "proc/self/", "proc/self/cwd/", "proc/self/cwd/f=x"}, ""},
		"owner -1":                 {[]item{{tar.Header{Name: "a", Typeflag: tar.TypeReg, Uid: 1<<32 - 1, Format: tar.FormatPAX}, ""}}, nil, "owner"},
		"strange type":             {[]item{{tar.Header{Name: "a", Typeflag: 'Z'}, ""}}, nil, "unknown type"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			err := s.apply(Options{Whiteouts: true}, pack(t, test.items...))
			s.unharmed()
			if test.tree == nil {
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
					t.Errorf("Apply = %v, want an error with %q; tree %q", err, test.says, s.tree())
				}
				return
			}
			must(t, err)
			if d := cmp.Diff(test.tree, s.tree()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLaterLayersReplace(t *testing.T) {
	s := newScene(t)
	first := pack(t, dir("a"), file("a/1", "1"), file("a/2", "2"), dir("b"), file("b/1", "1"), symlink("c", "a"), file("d", "d"),
		item{tar.Header{Name: "x", Typeflag: tar.TypeDir, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.user.old": "1"}}, ""})
	second := pack(t, file("a/2", "new"), file("b", "a file now"), item{tar.Header{Name: "x", Typeflag: tar.TypeDir, Mode: 0o700}, ""},
		file("c/3", "through the link"), dir("d"), file("d/e", "e"))
	must(t, s.apply(Options{Whiteouts: true}, first, second))
	want := []string{"a/", "a/1=1", "a/2=new", "a/3=through the link", "b=a file now", "c->a", "d/", "d/e=e", "x/"}
	if d := cmp.Diff(want, s.tree()); d != "" {
		t.Error(d)
	}
	if n, err := unix.Lgetxattr(filepath.Join(s.root, "x"), "user.old", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("the directory keeps the attribute that its new entry does not have: %d, %v", n, err)
	}
}
