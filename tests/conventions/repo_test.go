package conventions

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// root is the checkout.
const root = "../.."

// module is what our import paths begin with.
const module = "muster/"

// pkg is what `go list -json` tells of a package; import paths are without the module.
type pkg struct {
	ImportPath, Name                         string
	Standard                                 bool
	Imports, TestImports, XTestImports, Deps []string
}

// packages lists ours.
var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Standard,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, errors.New("go list: " + string(e.Stderr))
	}
	if err != nil {
		return nil, err
	}
	var ours []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return ours, nil
		} else if err != nil {
			return nil, err
		}
		if p.Standard || !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		ours = append(ours, p)
	}
})

// file is one parsed Go file of ours.
type file struct {
	// path is relative to the checkout.
	path  string
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// test reports whether it is compiled for tests only.
func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// at gives a node's place.
func (f file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// imports gives the local name of an imported package, "" where the file does not import it.
func (f file) imports(path string) string {
	for _, i := range f.ast.Imports {
		if i.Path.Value != strconv.Quote(path) {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}

// uses calls fn for every use of one of names of the package imported as path.
func (f file) uses(path string, names []string, fn func(n ast.Node, name string)) {
	local := f.imports(path)
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, s.Sel.Name) {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
			fn(n, s.Sel.Name)
		}
		return true
	})
}

// parse makes a file of a text.
func parse(path string, src any) (file, error) {
	f := file{path: path, fset: token.NewFileSet()}
	var err error
	f.ast, err = parser.ParseFile(f.fset, path, src, parser.ParseComments)
	if err != nil {
		return file{}, err
	}
	f.lines = f.fset.File(f.ast.Pos()).LineCount()
	return f, nil
}

// example parses a text that breaks a rule.
func example(t *testing.T, path, src string) file {
	t.Helper()
	f, err := parse(path, src)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// goFiles parses every Go file of the checkout.
var goFiles = sync.OnceValues(func() ([]file, error) {
	var out []file
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".go" {
			return nil
		}
		f, err := parse(filepath.Join(root, path), nil)
		f.path = path
		out = append(out, f)
		return err
	})
	return out, err
})

// each applies a rule to every Go file and reports what it finds.
func each(t *testing.T, rule func(file) []string) {
	t.Helper()
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files: is %s the checkout?", len(files), root)
	}
	for _, f := range files {
		for _, fault := range rule(f) {
			t.Error(fault)
		}
	}
}

// walk calls fn for every file of the checkout that is kept in it.
func walk(fn func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == ".git" || rel == "bin" || rel == ".cache" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return fn(rel)
	})
}
