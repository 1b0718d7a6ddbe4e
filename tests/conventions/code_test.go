package conventions

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// linesMax is where a file has become two.
const linesMax = 600

func sizeFaults(f file) []string {
	if f.lines > linesMax {
		return []string{fmt.Sprintf("%s: %d lines, more than %d: a file is one noun", f.path, f.lines, linesMax)}
	}
	return nil
}

func initFaults(f file) []string {
	var out []string
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, f.at(fn)+": init(): a slice literal in main is our registry")
		}
	}
	return out
}

// mainOnly finds what only main does: exit, read the environment, flags, and log through the process's own
// logger. Tests, and packages for tests alone (nfstest), may read the environment: it is how they are told
// where to run.
func mainOnly(f file) []string {
	if f.ast.Name.Name == "main" || f.test() || strings.HasSuffix(f.ast.Name.Name, "test") {
		return nil
	}
	var out []string
	add := func(why string) func(ast.Node, string) {
		return func(n ast.Node, name string) { out = append(out, f.at(n)+": "+name+": "+why) }
	}
	f.uses("os", []string{"Exit"}, add("only main exits; return an error"))
	f.uses("os", []string{"Getenv", "LookupEnv", "Args"}, add("only main reads the environment and the command line; take a field"))
	f.uses("log/slog", []string{"Debug", "Info", "Warn", "Error", "Log", "Default", "SetDefault", "DebugContext", "InfoContext", "WarnContext", "ErrorContext"},
		add("loggers are passed in, and nil is silent"))
	for _, path := range []string{"flag", "github.com/spf13/pflag"} {
		if f.imports(path) != "" {
			out = append(out, f.path+": imports "+path+": only main reads flags")
		}
	}
	if f.imports("log") != "" {
		out = append(out, f.path+": imports log: use a *slog.Logger that is passed in")
	}
	return out
}

// packageLoggers finds loggers in package variables.
func packageLoggers(f file) []string {
	var out []string
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		sub := file{f.path, f.lines, &ast.File{Name: f.ast.Name, Imports: f.ast.Imports, Decls: []ast.Decl{g}}, f.fset}
		for _, path := range []string{"log", "log/slog"} {
			sub.uses(path, []string{"New", "Default", "With", "Logger"}, func(n ast.Node, name string) {
				out = append(out, f.at(n)+": a package-level logger: pass it in")
			})
		}
	}
	return slices.Compact(out)
}

// skipFaults finds skips that do not say what the test needs.
func skipFaults(f file) []string {
	var out []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || s.Sel.Name != "Skip" && s.Sel.Name != "Skipf" && s.Sel.Name != "SkipNow" {
			return true
		}
		if x, ok := s.X.(*ast.Ident); !ok || !slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
			return true
		}
		reason := ""
		if len(call.Args) > 0 {
			reason = text(call.Args[0])
		}
		if !strings.HasPrefix(reason, "needs ") {
			out = append(out, f.at(call)+`: a skip says what is missing, as a literal: t.Skip("needs root: …")`)
		}
		return true
	})
	return out
}

const badCode = `package x
import ("flag"; "log"; "log/slog"; "os"; "testing")
var logger = slog.New(nil)
var other *log.Logger
var fine = os.Stdout
func init() { os.Exit(1) }
func (x) init() {}
func f(t *testing.T) {
	_ = os.Getenv("X"); slog.Info("x"); flag.Parse()
	t.Skip("broken"); t.SkipNow(); t.Skip("needs root: x"); t.Skipf("needs %s", x); t.Skip("needs x: " + y); t.Skip(x)
	d.Skip(1)
}
`

func TestCode(t *testing.T) {
	bad := example(t, "x.go", badCode)
	for _, tt := range []struct {
		name string
		rule func(file) []string
		want []string
	}{
		{"init", initFaults, []string{"x.go:6: init(): a slice literal in main is our registry"}},
		{"main only", mainOnly, []string{
			"x.go:6: Exit: only main exits; return an error",
			"x.go:9: Getenv: only main reads the environment and the command line; take a field",
			"x.go:9: Info: loggers are passed in, and nil is silent",
			"x.go: imports flag: only main reads flags",
			"x.go: imports log: use a *slog.Logger that is passed in",
		}},
		{"package loggers", packageLoggers, []string{
			"x.go:3: a package-level logger: pass it in",
			"x.go:4: a package-level logger: pass it in",
		}},
		{"skips", skipFaults, []string{
			`x.go:10: a skip says what is missing, as a literal: t.Skip("needs root: …")`,
			`x.go:10: a skip says what is missing, as a literal: t.Skip("needs root: …")`,
			`x.go:10: a skip says what is missing, as a literal: t.Skip("needs root: …")`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, tt.rule(bad)); d != "" {
				t.Errorf("example: -want +got:\n%s", d)
			}
			each(t, tt.rule)
		})
	}
}

func TestSize(t *testing.T) {
	if len(sizeFaults(example(t, "x.go", "package x\n"+strings.Repeat("//\n", linesMax)))) != 1 {
		t.Error("example: a file that is too long passed")
	}
	each(t, sizeFaults)
}
