package images

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

//go:embed overlay_test.go
var embedded embed.FS

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func TestOverlayKeepsModesAndLinks(t *testing.T) {
	root, dir := openRoot(t)
	src := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(src, "etc/private"), 0o755))
	must(t, os.Chmod(filepath.Join(src, "etc/private"), 0o700))
	must(t, os.WriteFile(filepath.Join(src, "etc/private/key"), []byte("k"), 0o600))
	must(t, os.WriteFile(filepath.Join(src, "etc/tool"), []byte("#!/bin/sh"), 0o644))
	must(t, os.Symlink("/etc/private", filepath.Join(src, "etc/link")))
	must(t, copyOverlay(root, os.DirFS(src)))
	must(t, copyOverlay(root, os.DirFS(src))) // over itself
	for name, want := range map[string]fs.FileMode{"etc/private": fs.ModeDir | 0o700, "etc/private/key": 0o600, "etc/tool": 0o644, "etc": fs.ModeDir | 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "etc/link")); err != nil || target != "/etc/private" {
		t.Errorf("link to %q, %v", target, err)
	}
}

func TestOverlayFromAnEmbedGetsUsualModes(t *testing.T) {
	root, dir := openRoot(t)
	must(t, copyOverlay(root, embedded))
	must(t, copyOverlay(root, fstest.MapFS{
		"usr":        {Mode: fs.ModeDir | 0o555},
		"usr/script": {Data: []byte("#!/bin/sh\n"), Mode: 0o444},
		"usr/data":   {Data: []byte("data"), Mode: 0o444},
	}))
	for name, want := range map[string]fs.FileMode{"overlay_test.go": 0o644, "usr/script": 0o755, "usr/data": 0o644, "usr": fs.ModeDir | 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestOverlayFollowsLinksInsideTheRootOnly(t *testing.T) {
	root, dir := openRoot(t)
	outside := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o755))
	must(t, os.Symlink("usr/lib", filepath.Join(dir, "lib")))
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	must(t, copyOverlay(root, fstest.MapFS{"lib/unit": {Data: []byte("u"), Mode: 0o444}}))
	if _, err := os.Stat(filepath.Join(dir, "usr/lib/unit")); err != nil {
		t.Error(err)
	}
	if err := copyOverlay(root, fstest.MapFS{"out/file": {Data: []byte("x"), Mode: 0o444}}); err == nil {
		t.Error("an overlay was copied through a link out of the root")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside there is now %v", entries)
	}
}

func TestOverlayDoesNotReplaceADirectoryByAFile(t *testing.T) {
	root, dir := openRoot(t)
	must(t, os.MkdirAll(filepath.Join(dir, "etc/nginx"), 0o755))
	err := copyOverlay(root, fstest.MapFS{"etc/nginx": {Data: []byte("x"), Mode: 0o444}})
	if err == nil || !strings.Contains(err.Error(), "etc/nginx") {
		t.Errorf("copyOverlay = %v", err)
	}
}
