package unpack

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzApply applies anything to a root, twice, as two layers: it never panics, and never changes anything
// outside of the root.
func FuzzApply(f *testing.F) {
	needsRoot(f)
	f.Add(pack(f, dir("a"), file("a/b", "x"), symlink("a/c", "../.."), file("a/c/passwd", "evil")))
	f.Add(pack(f, symlink("a", ".."), link("b", "a/passwd"), file("a/.wh.passwd", ""), file("a/.wh..wh..opq", "")))
	f.Add(pack(f, file("../passwd", "evil"), file("/passwd", "evil")))
	f.Add(pack(f, symlink("a", "b"), symlink("b", "../passwd"), file("a", "x"), file(".wh.b", "")))
	f.Add(gz(f, pack(f, file("a", "x"))))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Add([]byte("BZh91AY"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		s := newScene(t)
		limits := Limits{Entries: 100, Bytes: 1 << 20, Free: 1 << 22, Reserve: -1}
		for range 2 {
			r, err := Open(s.root)
			must(t, err)
			_, _ = r.Apply(t.Context(), bytes.NewReader(archive), Options{Whiteouts: true, Limits: limits})
			must(t, r.Close())
		}
		s.unharmed()
		if _, err := os.Lstat(filepath.Join(s.outer, "root")); err != nil {
			t.Error(err)
		}
	})
}
