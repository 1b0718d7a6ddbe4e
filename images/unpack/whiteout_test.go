package unpack

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lower is the layer that the whiteouts of the tests' layers hide.
func lower(t testing.TB) []byte {
	return pack(t, dir("a"), file("a/1", "1"), dir("a/sub"), file("a/sub/2", "2"), file("b", "b"), symlink("out", ".."), symlink("in", "a"))
}

func TestWhiteouts(t *testing.T) {
	for name, test := range map[string]struct {
		layer []item
		want  []string
	}{
		"a file":                {[]item{file(".wh.b", "")}, []string{"a/", "a/1=1", "a/sub/", "a/sub/2=2", "in->a", "out->.."}},
		"a directory":           {[]item{file(".wh.a", ""), file(".wh.in", "")}, []string{"b=b", "out->.."}},
		"what is not there":     {[]item{file(".wh.z", ""), file("z/.wh.y", ""), file("b/.wh.y", ""), file(".wh.a", ""), file("none/.wh..wh..opq", "")}, []string{"b=b", "in->a", "out->.."}},
		"through a link inside": {[]item{file("in/.wh.1", ""), file("in/sub/.wh..wh..opq", "")}, []string{"a/", "a/sub/", "b=b", "in->a", "out->.."}},
		// ".." of the root is the root: nothing of the host's is hidden, b is.
		"through a link out": {[]item{file("out/.wh.passwd", ""), file("out/.wh.b", "")}, []string{"a/", "a/1=1", "a/sub/", "a/sub/2=2", "in->a", "out->.."}},
		"opaque":             {[]item{dir("a"), file("a/.wh..wh..opq", ""), file("a/new", "n")}, []string{"a/", "a/new=n", "b=b", "in->a", "out->.."}},
		// The order of a layer's entries must not matter.
		"opaque at the end":      {[]item{dir("a"), file("a/new", "n"), file("a/sub/deep/er", "d"), file("a/.wh..wh..opq", "")}, []string{"a/", "a/new=n", "a/sub/", "a/sub/deep/", "a/sub/deep/er=d", "b=b", "in->a", "out->.."}},
		"of what it brings":      {[]item{file("b", "new"), file(".wh.b", "")}, []string{"a/", "a/1=1", "a/sub/", "a/sub/2=2", "b=new", "in->a", "out->.."}},
		"renamed by a hard link": {[]item{link("c", "b"), file(".wh.b", "")}, []string{"a/", "a/1=1", "a/sub/", "a/sub/2=2", "c=b", "in->a", "out->.."}},
		"opaque root":            {[]item{file("new", "n"), file(".wh..wh..opq", "")}, []string{"new=n"}},
		"books of AUFS":          {[]item{file(".wh..wh.plnk/1", "x"), file("a/.wh..wh.aufs", "x"), file(".wh.a", ""), file(".wh.in", "")}, []string{"b=b", "out->.."}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			must(t, s.apply(Options{Whiteouts: true}, lower(t), pack(t, test.layer...)))
			s.unharmed()
			if d := cmp.Diff(test.want, s.tree()); d != "" {
				t.Error(d)
			}
		})
	}
	for _, name := range []string{".wh.", ".wh..", ".wh...", "a/.wh..."} {
		s := newScene(t)
		if err := s.apply(Options{Whiteouts: true}, lower(t), pack(t, file(name, ""))); err == nil || !strings.Contains(err.Error(), "whiteout of nothing") {
			t.Errorf("%s: %v", name, err)
		}
		s.unharmed()
	}
}
