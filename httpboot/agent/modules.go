package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

	mu sync.Mutex
	// tried holds the modules that were inserted, or are about to be, by name. Guarded by mu.
	tried map[string]*insertion
}

type alias struct{ pattern, module string }

// readModules reads the index in dir. A missing modules.alias or modules.softdep is an empty one; a missing
// modules.dep is an error.
func readModules(dir string) (*modules, error) {
	m := &modules{
		dir: dir, deps: map[string][]string{}, pre: map[string][]string{},
		aliases: map[string][]alias{}, tried: map[string]*insertion{},
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
