package main

import (
	"context"
	"path/filepath"
	"testing"

	"muster/images"
)

// oddShelf has two versions that differ in what has names that few expect.
type oddShelf struct{ shelf }

func (oddShelf) Diff(context.Context, images.Ref, images.Ref) (images.Diff, error) {
	return images.Diff{Files: []images.FileChange{
		{Path: ".", What: "mode"}, {Path: "../vmlinuz", What: "added"}, {Path: "a\xfe", What: "added"}, {Path: "a\xff", What: "removed"},
		{Path: "b\nc", What: "added"}, {Path: "été", What: "added"},
	}}, nil
}

// TestDiffTellsNamesApart: names are bytes, and those that are no text are quoted, for people and in JSON.
func TestDiffTellsNamesApart(t *testing.T) {
	w := newWorld(filepath.Join(t.TempDir(), "s"))
	w.images = oddShelf{}
	t.Cleanup(w.close)
	if err := w.serve(); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		"table": `FILE        WHAT
/           mode
../vmlinuz  added
"a\xfe"     added
"a\xff"     removed
"b\nc"      added
/été        added

0 packages and 6 files differ between web:7 and web:8
`,
		"json": `{
  "packages": [],
  "files": [
    {
      "path": ".",
      "what": "mode"
    },
    {
      "path": "../vmlinuz",
      "what": "added"
    },
    {
      "path": "\"a\\xfe\"",
      "what": "added"
    },
    {
      "path": "\"a\\xff\"",
      "what": "removed"
    },
    {
      "path": "\"b\\nc\"",
      "what": "added"
    },
    {
      "path": "été",
      "what": "added"
    }
  ]
}
`,
	} {
		p, out, errs := newProgram()
		if code := p.run(t.Context(), []string{"--socket", w.socket, "image", "diff", "web:7", "web:8", "-o", format}); code != exitOK || out.String() != want {
			t.Errorf("%s: exit code %d, %s\ngot %s\nwant %s", format, code, errs, out, want)
		}
	}
}
