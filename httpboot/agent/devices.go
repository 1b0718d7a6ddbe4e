package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// device is one entry of /sys/devices that has a modalias.
type device struct {
	path     string
	modalias string
	// network says that it is a PCI device of class 02: its driver is what a boot waits for.
	network bool
	driver  string
}

// devices walks sys/devices, network controllers first. Unreadable entries are passed over: devices come
// and go.
func devices(sys string) []device {
	var out []device
	filepath.WalkDir(filepath.Join(sys, "devices"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.Name() != "modalias" || d.IsDir() {
			return nil
		}
		dir := filepath.Dir(path)
		dev := device{path: dir, modalias: readWord(path)}
		dev.network = strings.HasPrefix(readWord(filepath.Join(dir, "class")), "0x02")
		dev.driver = linkName(filepath.Join(dir, "driver"))
		if dev.modalias != "" {
			out = append(out, dev)
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b device) int {
		switch {
		case a.network == b.network:
			return 0
		case a.network:
			return -1
		}
		return 1
	})
	return out
}

// loadDrivers inserts the drivers of every device that has none, again and again: a bus driver brings new
// devices. It returns how many modules went in, and shows what failed.
func (a *Agent) loadDrivers() int {
	loaded := 0
	for {
		before := loaded
		for _, d := range devices(a.path("/sys")) {
			if d.driver != "" || a.tried[d.modalias] {
				continue
			}
			a.tried[d.modalias] = true
			for _, name := range a.mods.match(d.modalias) {
				if _, done := a.mods.loaded[name]; done {
					continue
				}
				loaded++
				if err := a.mods.load(a.System, name); err != nil {
					a.Console.Fail("%v", err)
				}
			}
		}
		if loaded == before {
			return loaded
		}
	}
}

// readWord gives a small file's content without white space at its ends; empty when it cannot be read.
func readWord(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// linkName gives the last part of a symlink's target; empty where there is none.
func linkName(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}
