package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// modules is depmod's index of /lib/modules/RELEASE: what drives which device, and what must be there
// first. Names are as the kernel has them, with underscores.
type modules struct {
	dir string
	// deps holds each module's file and the files it needs, nearest first, as in modules.dep.
	deps map[string][]string
	// pre holds the soft dependencies that come before, from modules.softdep.
	pre map[string][]string
	// aliases by the part before the first colon ("pci", "virtio"): a machine has some 100 devices and
	// the index some 20,000 lines.
	aliases map[string][]alias
	// loaded holds the modules that were tried, and how that went.
	loaded map[string]error
}

type alias struct{ pattern, module string }

// readModules reads the index in dir. A missing modules.alias or modules.softdep is an empty one; a missing
// modules.dep is an error.
func readModules(dir string) (*modules, error) {
	m := &modules{
		dir: dir, deps: map[string][]string{}, pre: map[string][]string{},
		aliases: map[string][]alias{}, loaded: map[string]error{},
	}
	err := eachLine(filepath.Join(dir, "modules.dep"), func(line string) {
		if file, deps, ok := strings.Cut(line, ":"); ok {
			m.deps[moduleName(file)] = append([]string{file}, strings.Fields(deps)...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("agent: module index: %w", err)
	}
	err = errors.Join(
		optional(eachLine(filepath.Join(dir, "modules.alias"), func(line string) {
			// alias pci:v00008086d* e1000e
			if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
				bus, _, _ := strings.Cut(f[1], ":")
				m.aliases[bus] = append(m.aliases[bus], alias{f[1], moduleName(f[2])})
			}
		})),
		optional(eachLine(filepath.Join(dir, "modules.softdep"), func(line string) {
			// softdep NAME pre: a b post: c
			f := strings.Fields(line)
			if len(f) < 3 || f[0] != "softdep" {
				return
			}
			pre := false
			for _, w := range f[2:] {
				if strings.HasSuffix(w, ":") {
					pre = w == "pre:"
				} else if pre {
					name := moduleName(f[1])
					m.pre[name] = append(m.pre[name], moduleName(w))
				}
			}
		})),
	)
	if err != nil {
		return nil, fmt.Errorf("agent: module index: %w", err)
	}
	return m, nil
}

func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func eachLine(file string, fn func(string)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20) // mac80211's dependents have lines above bufio's 64 KiB
	for sc.Scan() {
		if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' {
			fn(line)
		}
	}
	return sc.Err()
}

// moduleName gives a file's or alias' module: "kernel/net/foo-bar.ko.xz" is foo_bar.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// match gives the modules that say that they drive modalias, in the index' order and without repeats.
func (m *modules) match(modalias string) []string {
	bus, _, _ := strings.Cut(modalias, ":")
	var out []string
	seen := map[string]bool{}
	for _, a := range m.aliases[bus] {
		if !seen[a.module] && fnmatch(a.pattern, modalias) {
			seen[a.module] = true
			out = append(out, a.module)
		}
	}
	return out
}

// order gives the files to insert for module, in that order: hard dependencies are listed nearest first,
// so they go in from the end; soft ones before all.
func (m *modules) order(module string) []string {
	var out []string
	have := map[string]bool{}
	var add func(name string, depth int)
	add = func(name string, depth int) {
		files := m.deps[name]
		if depth > 10 { // a circle in modules.softdep
			return
		}
		for _, soft := range m.pre[name] {
			add(soft, depth+1)
		}
		for i := len(files) - 1; i >= 0; i-- {
			if !have[files[i]] {
				have[files[i]] = true
				out = append(out, files[i])
			}
		}
	}
	add(module, 0)
	return out
}

// load inserts module and what it needs, once. It is no error when the initrd does not hold the module: it
// is built into the kernel, or was left out on purpose. A dependency that fails is the module's failure.
func (m *modules) load(sys System, module string) error {
	module = moduleName(module)
	if err, done := m.loaded[module]; done {
		return err
	}
	var err error
	for _, file := range m.order(module) {
		name := moduleName(file)
		if prev, done := m.loaded[name]; done && prev == nil {
			continue
		}
		lerr := sys.LoadModule(filepath.Join(m.dir, file))
		m.loaded[name] = optional(lerr)
		if lerr != nil && !errors.Is(lerr, fs.ErrNotExist) {
			err = fmt.Errorf("module %s: %w", module, lerr)
			break
		}
	}
	m.loaded[module] = err
	return err
}

// fnmatch is fnmatch(3) without flags: * and ? match any character, a slash too, and [a-f] is a class.
// (path.Match stops at slashes; DMI's aliases hold dates.)
func fnmatch(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if n, ok := matchOne(pattern[p:], s[i]); ok {
			p += n
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches c with the first element of p and gives that element's length.
func matchOne(p string, c byte) (int, bool) {
	switch {
	case p == "":
		return 0, false
	case p[0] == '?':
		return 1, true
	case p[0] != '[':
		return 1, p[0] == c
	}
	end := strings.IndexByte(p, ']')
	if end < 2 {
		return 1, c == '['
	}
	class, hit := p[1:end], false
	not := class[0] == '!' || class[0] == '^'
	if not {
		class = class[1:]
	}
	for k := 0; k < len(class); k++ {
		if k+2 < len(class) && class[k+1] == '-' {
			hit = hit || (class[k] <= c && c <= class[k+2])
			k += 2
			continue
		}
		hit = hit || class[k] == c
	}
	return end + 1, hit != not
}
