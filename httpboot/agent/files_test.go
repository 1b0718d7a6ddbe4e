package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Modes are what they say, whatever the umask is, setuid too; an owner that the image does not have is an error
// and leaves nothing.
func TestWriter(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	root := t.TempDir()
	write(t, root, map[string]string{"etc/passwd": "knot:x:101:102::/:/bin/false\n", "etc/group": "knot:x:102:\n"})
	w := newWriter(root)
	for _, tc := range []struct {
		file File
		mode fs.FileMode
		uid  uint32
		err  string
	}{
		{File{Path: "/a", Content: []byte("x")}, 0o644, 0, ""},
		{File{Path: "/b", Mode: 0o600, Owner: "knot:knot"}, 0o600, 101, ""},
		{File{Path: "/c", Mode: 0o4755, Owner: "knot:knot"}, 0o755 | fs.ModeSetuid, 101, ""},
		{File{Path: "/d", Owner: "nobody:knot"}, 0, 0, `file /d: owner "nobody:knot": the image has no "nobody" in /etc/passwd`},
		{File{Path: "/a/b"}, 0, 0, "file /a/b: "},
	} {
		wrote, err := w.write(tc.file)
		name := filepath.Join(root, tc.file.Path)
		st, serr := os.Lstat(name)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || serr == nil || wrote {
				t.Errorf("%s: %v, want %s", tc.file.Path, err, tc.err)
			}
			continue
		}
		if err != nil || !wrote || st.Mode() != tc.mode {
			t.Errorf("%s: %v, mode %v", tc.file.Path, err, st.Mode())
		}
		var sys unix.Stat_t
		if err := unix.Stat(name, &sys); isRoot() && (err != nil || sys.Uid != tc.uid) {
			t.Errorf("%s is %d's: %v", tc.file.Path, sys.Uid, err)
		}
	}
	entries, _ := os.ReadDir(root)
	if len(entries) != 4 { // etc, a, b, c
		t.Errorf("there is %v", entries)
	}
}

// Of a file that is there already nothing is written, and every difference is one.
func TestWriterChanged(t *testing.T) {
	root := t.TempDir()
	w := newWriter(root)
	w.changed = true
	try := func(want bool, f File) {
		t.Helper()
		f.Path = "/etc/x"
		if wrote, err := w.write(f); err != nil || wrote != want {
			t.Errorf("%+v: wrote %v (%v), want %v", f, wrote, err, want)
		}
	}
	try(true, File{Content: []byte("one")})
	try(false, File{Content: []byte("one")})
	try(false, File{Content: []byte("one"), Mode: 0o644})
	try(true, File{Content: []byte("two")})
	try(true, File{Content: []byte("two"), Mode: 0o600})
	try(isRoot(), File{Content: []byte("two"), Mode: 0o600, Owner: "7:7"})
	try(false, File{Content: []byte("two"), Mode: 0o600, Owner: "7:7"})
	name := filepath.Join(root, "etc/x")
	if err := os.Rename(name, name+"2"); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"etc/x": "-> x2"})
	try(true, File{Content: []byte("two"), Mode: 0o600, Owner: "7:7"}) // a symlink to the same is not the same
}

func TestCheckFiles(t *testing.T) {
	if err := checkFiles([]File{{Path: "/etc/motd"}, {Path: "/a", Mode: 0o7777}}); err != nil {
		t.Error(err)
	}
	err := checkFiles([]File{{Path: "etc"}, {Path: "/a/../b"}, {Path: "/c", Mode: 0o100644}, {Path: "/"}})
	if !errors.Is(err, fs.ErrInvalid) || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("got %v", err)
	}
}
