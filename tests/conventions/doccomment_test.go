package conventions

import (
	"fmt"
	"path"
	"strings"
	"testing"
)

// docFaults tells what a package comment lacks; "" is a package without one.
func docFaults(p pkg, comment string) []string {
	begin := "Package " + p.Name + " "
	if p.Name == "main" {
		begin = "Command " + path.Base(p.ImportPath) + " "
		if strings.HasPrefix(comment, strings.ToUpper(path.Base(p.ImportPath)[:1])+path.Base(p.ImportPath)[1:]+" ") {
			return nil // "Muster brings …" is what go doc shows for a command, too
		}
	}
	switch {
	case comment == "":
		return []string{p.ImportPath + ": has no package comment: what is it for, and what does it deliberately not do?"}
	case !strings.HasPrefix(comment, begin):
		return []string{fmt.Sprintf("%s: its package comment does not begin with %q", p.ImportPath, begin)}
	case len(comment) < 80:
		return []string{p.ImportPath + ": its package comment says next to nothing"}
	}
	return nil
}

func TestPackageComments(t *testing.T) {
	p := pkg{ImportPath: "roles/x", Name: "x"}
	for _, bad := range []string{"", "Useful things, and more of them than anybody could ever find a use for in a lifetime.", "Package x is x."} {
		if len(docFaults(p, bad)) != 1 {
			t.Errorf("example: %q passed", bad)
		}
	}

	comments := map[string]string{}
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.ast.Doc != nil && !f.test() {
			dir := path.Dir(f.path)
			if comments[dir] != "" {
				t.Errorf("%s: the package has a second package comment", f.path)
			}
			comments[dir] = f.ast.Doc.Text()
		}
	}
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, f := range docFaults(p, comments[p.ImportPath]) {
			t.Error(f)
		}
	}
}
