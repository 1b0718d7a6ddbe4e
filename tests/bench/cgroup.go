package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// group is a control group (version 2): what all processes in it have used, those that ended included.
type group struct {
	path string
	dir  *os.File
}

// newGroup makes one.
func newGroup(name string) (*group, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		g := &group{path: filepath.Join(f[1], fmt.Sprintf("%s-%d", name, os.Getpid()))}
		if err := os.Mkdir(g.path, 0o755); err != nil {
			return nil, err
		}
		if g.dir, err = os.Open(g.path); err != nil {
			return nil, err
		}
		return g, nil
	}
	return nil, fmt.Errorf("bench: no cgroup2 is mounted")
}

// close removes it; its processes must have ended.
func (g *group) close() error {
	_ = g.dir.Close()
	return os.Remove(g.path)
}

// cpu is the processor time that was used in it.
func (g *group) cpu() time.Duration {
	f, err := os.Open(filepath.Join(g.path, "cpu.stat"))
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var us int64
		if _, err := fmt.Sscanf(s.Text(), "usage_usec %d", &us); err == nil {
			return time.Duration(us) * time.Microsecond
		}
	}
	return 0
}
