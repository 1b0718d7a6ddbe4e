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
	w := newWriter(root, nil)
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
	w := newWriter(root, nil)
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

// volumeAt stands in for a kernel that has a volume mounted on dir of a root.
func volumeAt(root, dir string) func(*os.File) (bool, error) {
	return func(f *os.File) (bool, error) {
		at, err := os.Readlink(handle(f))
		return at == root+dir || strings.HasPrefix(at, root+dir+"/"), err
	}
}

// A secret never gets to a volume, by whatever name; other files do, and secrets beside it.
func TestWriterKeepsSecrets(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"srv/www/old": "old", "srv/www/key": "before", "keys": "-> /srv/www"})
	w := newWriter(root, nil)
	w.volume = volumeAt(root, "/srv/www")
	try := func(name string, secret, refused bool) {
		t.Helper()
		w.ram = secret
		_, err := w.write(File{Path: name, Mode: 0o600, Content: []byte("tsig")})
		if refused != (err != nil) || refused && (!errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "file "+name+": it has a secret and would lie on a volume")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	try("/srv/www/key", true, true)
	try("/srv/www/new", true, true)
	try("/srv/www/a/b", true, true)
	try("/keys/new", true, true)
	try("/srv/key", true, false)
	try("/etc/key", true, false)
	err := filepath.WalkDir(root+"/srv/www", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if b, err := os.ReadFile(name); err != nil || strings.Contains(string(b), "tsig") || strings.Contains(name, ".muster-") {
			t.Errorf("%s has %q, %v", name, b, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	try("/srv/www/page", false, false)
	w.volume = func(*os.File) (bool, error) { return false, errBusy }
	w.ram = true
	if _, err := w.write(File{Path: "/etc/other"}); !errors.Is(err, errBusy) {
		t.Errorf("where nobody knows: %v", err)
	}
}

// The kernel's word for what is no volume; that of a real one is in the test of a whole machine (cmd/muster-init).
func TestOnNFS(t *testing.T) {
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if nfs, err := onNFS(d); nfs || err != nil {
		t.Errorf("a local directory: %v, %v", nfs, err)
	}
	d.Close()
	if _, err := onNFS(d); err == nil {
		t.Error("no directory: no error")
	}
}
