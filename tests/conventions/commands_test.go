package conventions

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command is one line that a document tells people to type.
type command struct {
	line  int
	words []string
}

// shellCommands finds the commands in a document's ```sh blocks, and in ```console blocks those after a
// prompt. Words are cut at blanks; a document that needs a shell's quoting to be checked is too clever.
func shellCommands(doc string) []command {
	var out []command
	kind := ""
	number := 0
	for line := range strings.Lines(doc) {
		number++
		line = strings.TrimSpace(line)
		if fence, ok := strings.CutPrefix(line, "```"); ok {
			if kind != "" {
				kind = ""
			} else if kind = strings.Fields(fence + " text")[0]; kind == "bash" || kind == "shell" {
				kind = "sh"
			}
			continue
		}
		prompt := false
		for _, p := range []string{"$ ", "# "} {
			if rest, ok := strings.CutPrefix(line, p); ok && (p == "$ " || kind == "console") {
				line, prompt = rest, true
			}
		}
		if kind == "sh" || kind == "console" && prompt {
			out = append(out, split(number, line)...)
		}
	}
	return out
}

// split takes a line apart into commands, without comments, assignments, sudo and redirections.
func split(number int, line string) []command {
	var out []command
	cur := command{line: number}
	end := func() {
		if len(cur.words) > 0 {
			out = append(out, cur)
		}
		cur = command{line: number}
	}
	for w := range strings.FieldsSeq(line) {
		if strings.HasPrefix(w, "#") {
			break
		}
		if w == "|" || w == "&&" || w == "||" || w == ";" || w == "&" {
			end()
			continue
		}
		skip := len(cur.words) == 0 && (w == "sudo" || w == "watch" || regexp.MustCompile(`^[A-Z_]+=`).MatchString(w))
		if !skip {
			cur.words = append(cur.words, strings.TrimSuffix(w, ";"))
		}
		if strings.HasSuffix(w, ";") {
			end()
		}
	}
	end()
	return out
}

// targets are the Makefile's.
func targets(makefile string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(makefile, -1) {
		out = append(out, m[1])
	}
	return out
}

// cli tells what commands and flags the muster command has.
type cli struct {
	// help prints a command's help: help("node", "list").
	help func(path ...string) (string, error)
}

var (
	subcommandRE = regexp.MustCompile(`^  ([a-z][a-z-]*)\s{2,}\S`)
	flagRE       = regexp.MustCompile(`(?m)^\s+(?:(-\w), )?(--[a-z][a-z-]*)`)
)

// fault tells what is wrong with a use of the muster command; "" when nothing is.
func (c cli) fault(words []string) (string, error) {
	var path, flags []string
	text, err := c.help()
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if strings.HasPrefix(w, "-") {
			name, _, _ := strings.Cut(w, "=")
			flags = append(flags, name)
		}
	}
	for _, w := range words {
		subs := subcommands(text)
		if strings.HasPrefix(w, "-") {
			continue
		}
		if len(subs) == 0 {
			break // arguments
		}
		if !slices.Contains(subs, w) {
			return fmt.Sprintf("there is no command %q", strings.Join(append([]string{"muster"}, append(path, w)...), " ")), nil
		}
		path = append(path, w)
		if text, err = c.help(path...); err != nil {
			return "", err
		}
	}
	known := []string{"-h", "--help"}
	for _, m := range flagRE.FindAllStringSubmatch(text, -1) {
		known = append(known, m[1:]...)
	}
	for _, f := range flags {
		if !slices.Contains(known, f) {
			return fmt.Sprintf("%q has no flag %s", strings.Join(append([]string{"muster"}, path...), " "), f), nil
		}
	}
	return "", nil
}

// subcommands are those that a help text lists between its usage and its flags, under whatever heading.
func subcommands(help string) []string {
	_, after, _ := strings.Cut(help, "Usage:\n")
	var out []string
	heading := "Usage:"
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, " ") && strings.HasSuffix(line, ":\n") {
			heading = strings.TrimSpace(line)
		}
		if heading == "Flags:" || heading == "Global Flags:" {
			break
		}
		m := subcommandRE.FindStringSubmatch(line)
		if m != nil && heading != "Usage:" && heading != "Aliases:" && heading != "Examples:" {
			out = append(out, m[1])
		}
	}
	return out
}

// commandFaults checks the make targets and muster commands of a document.
func commandFaults(path, doc string, targets []string, c cli) ([]string, error) {
	var out []string
	for _, cmd := range shellCommands(doc) {
		at := fmt.Sprintf("%s:%d: ", path, cmd.line)
		switch name := filepath.Base(cmd.words[0]); name {
		case "make":
			for _, w := range cmd.words[1:] {
				if !strings.ContainsAny(w, "=-") && !slices.Contains(targets, w) {
					out = append(out, at+"make has no target "+w)
				}
			}
		case "muster":
			fault, err := c.fault(cmd.words[1:])
			if err != nil {
				return out, err
			}
			if fault != "" {
				out = append(out, at+fault)
			}
		}
	}
	return out, nil
}

func TestDocumentedCommands(t *testing.T) {
	fake := cli{func(path ...string) (string, error) {
		return map[string]string{
			"":          "Muster.\n\nUsage:\n  muster [command]\n\nThe server:\n  serve       Serve\n\nThe rack:\n  node        Nodes\n\nFlags:\n      --socket string   x\n",
			"serve":     "Usage:\n  muster serve\n\nGlobal Flags:\n      --socket string   x\n",
			"node":      "Usage:\n  muster node [command]\n\nAvailable Commands:\n  list        List\n\nFlags:\n  -h, --help   x\n",
			"node list": "Usage:\n  muster node list\n\nFlags:\n  -o, --output string   x\n",
		}[strings.Join(path, " ")], nil
	}}
	doc := "make nothing\n```sh\nsudo make demo   # muster nope\nmake tets FUZZTIME=1s && bin/muster serv\nX=1 muster node list -o json --wide | jq .; muster node rm\n```\n" +
		"```console\n# muster serve --socket=/x\nmuster prints this\n$ muster --port 1 serve\n```\n```yaml\nmake: x\n```\n"
	got, err := commandFaults("x.md", doc, []string{"demo", "test"}, fake)
	want := []string{
		"x.md:4: make has no target tets",
		`x.md:4: there is no command "muster serv"`,
		`x.md:5: "muster node list" has no flag --wide`,
		`x.md:5: there is no command "muster node rm"`,
		`x.md:10: there is no command "muster 1"`,
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("example: %v; -want +got:\n%s", err, d)
	}

	docs := documents(t)
	if len(docs) == 0 {
		t.Log("there are no documents yet")
		return
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	muster := musterHelp(t)
	for path, text := range docs {
		faults, err := commandFaults(path, text, targets(string(makefile)), muster)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range faults {
			t.Error(f)
		}
	}
	readme, ok := docs["README.md"]
	if !ok {
		return
	}
	typed := map[string]bool{}
	for _, c := range shellCommands(readme) {
		typed[strings.Join(c.words, " ")] = true
	}
	for _, c := range []string{"make demo", "make test"} {
		if !typed[c] {
			t.Errorf("README.md: does not tell people to run %q", c)
		}
	}
}

// documents are README.md and everything else for people, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := walk(func(path string) error {
		if filepath.Ext(path) != ".md" || strings.Contains(path, "testdata/") {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		out[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// musterHelp builds the real command and asks it.
func musterHelp(t *testing.T) cli {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "muster")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "./cmd/muster")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	seen := map[string]string{}
	return cli{func(path ...string) (string, error) {
		key := strings.Join(path, " ")
		if text, ok := seen[key]; ok {
			return text, nil
		}
		out, err := exec.Command(bin, append(path, "--help")...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("muster %s --help: %w\n%s", key, err, out)
		}
		seen[key] = string(out)
		return seen[key], nil
	}}
}
