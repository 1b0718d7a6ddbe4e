package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// insertion is one module's way into the kernel. done is closed when err is set.
type insertion struct {
	done chan struct{}
	err  error
}

// load inserts module and what it needs, once, and remembers how that went. It is no error when the initrd does
// not hold the module: it is built into the kernel, or was left out on purpose. A dependency that fails is the
// module's failure. Modules that do not need each other go in at the same time: the kernel checks and links each
// on the processor of who brings it, and the NFS client's nine take longer than all else that an agent does.
// Several calls may run at the same time, too.
func (m *modules) load(sys System, module string) error {
	files := m.order(module)
	errs := make([]error, len(files))
	done := make([]chan struct{}, len(files))
	for i := range files {
		done[i] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() {
			defer close(done[i])
			// Only on files before this one, so that no circle in an index can hold a boot up.
			for j := range i {
				if m.needs(file, files[j]) {
					if <-done[j]; errs[j] != nil {
						errs[i] = errs[j]
						return
					}
				}
			}
			errs[i] = m.insert(sys, file)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("module %s: %w", moduleName(module), err)
		}
	}
	return nil
}

// needs reports whether file wants other in the kernel first.
func (m *modules) needs(file, other string) bool {
	name := moduleName(file)
	return slices.Contains(m.deps[name], other) || slices.Contains(m.pre[name], moduleName(other))
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
