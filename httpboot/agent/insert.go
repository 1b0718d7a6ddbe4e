package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// insertion is one module's way into the kernel. done is closed when err is set.
type insertion struct {
	done chan struct{}
	err  error
}

// load inserts module and what it needs, once, and remembers how that went. It is no error when the initrd does
// not hold the module: it is built into the kernel, or was left out on purpose. A dependency that fails is the
// module's failure. Several calls may run at the same time.
func (m *modules) load(sys System, module string) error {
	for _, file := range m.order(moduleName(module)) {
		if err := m.insert(sys, file); err != nil {
			return fmt.Errorf("module %s: %w", moduleName(module), err)
		}
	}
	return nil
}

// insert inserts one file, or waits until somebody else has.
func (m *modules) insert(sys System, file string) error {
	name := moduleName(file)
	m.mu.Lock()
	t, there := m.tried[name]
	if !there {
		t = &insertion{done: make(chan struct{})}
		m.tried[name] = t
	}
	m.mu.Unlock()
	if there {
		<-t.done
		return t.err
	}
	if err := sys.LoadModule(filepath.Join(m.dir, file)); !errors.Is(err, fs.ErrNotExist) {
		t.err = err
	}
	close(t.done)
	return t.err
}

// known reports whether module was tried, or is not in the index at all.
func (m *modules) known(module string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tried[module] != nil || m.deps[module] == nil
}
