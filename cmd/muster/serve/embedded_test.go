package serve

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"muster/images"
)

func TestMakeDir(t *testing.T) {
	root := t.TempDir()
	make := func(dir, target string) error { return makeDir(dir, images.DirLike("", root, target)) }
	model, dir := filepath.Join(root, "model"), filepath.Join(root, "state/web-01/var-lib-x")
	if err := os.Mkdir(model, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(model, 0o2750|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	if uid == 0 {
		uid = 33
		if err := os.Chown(model, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := make(dir, "model"); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode(); got != os.ModeDir|os.ModeSetgid|0o750 {
		t.Errorf("mode %v", got)
	}
	if got := int(fi.Sys().(*syscall.Stat_t).Uid); got != uid {
		t.Errorf("owner %d, want %d", got, uid)
	}
	// What is there stays as it is, whatever the next image says.
	if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := make(dir, "/nowhere"); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 1 {
		t.Errorf("beside it are %v, %v", left, err)
	}
	// A model that the image does not have: root's, and everybody may enter.
	if err := make(filepath.Join(root, "plain"), "/nowhere"); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(root, "plain")); err != nil || fi.Mode() != os.ModeDir|0o755 {
		t.Errorf("%v, %v", fi, err)
	}
}
