package agent

import (
	"os"
	"path/filepath"
	"strings"
)

// device is one entry of /sys/bus that has a modalias.
type device struct {
	path     string
	modalias string
	driver   string
}

// devices lists what is on the machine's buses. (A walk of /sys/devices, which is where the entries lead, meets
// thousands of directories: a tenth of a second on a slow machine.) Unreadable entries are passed over: devices
// come and go.
func devices(sys string) []device {
	links, _ := filepath.Glob(filepath.Join(sys, "bus/*/devices/*"))
	var out []device
	for _, link := range links {
		modalias := readWord(filepath.Join(link, "modalias"))
		if modalias == "" {
			continue
		}
		path := link
		if target, err := os.Readlink(link); err == nil {
			path = filepath.Join(filepath.Dir(link), target)
		}
		out = append(out, device{path: path, modalias: modalias, driver: linkName(filepath.Join(link, "driver"))})
	}
	return out
}

// network reports whether the device is a network controller (PCI class 02), or one's child: a virtio function.
// Its driver is what a boot waits for.
func (d device) network() bool {
	for _, dir := range []string{d.path, filepath.Dir(d.path)} {
		if class := readWord(filepath.Join(dir, "class")); class != "" {
			return strings.HasPrefix(class, "0x02")
		}
	}
	return false
}

// loadDrivers inserts the drivers of every device that has none, again and again: a bus driver brings new
// devices. With nic it does so for network controllers only. It shows what failed.
func (a *Agent) loadDrivers(nic bool) {
	for more := true; more; {
		more = false
		for _, d := range devices(a.path("/sys")) {
			if d.driver != "" || a.tried[d.modalias] || nic && !d.network() {
				continue
			}
			a.tried[d.modalias] = true
			for _, name := range a.mods.match(d.modalias) {
				if a.mods.known(name) {
					continue
				}
				more = true
				if err := a.mods.load(a.System, name); err != nil {
					a.Console.Fail("%v", err)
				}
			}
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
