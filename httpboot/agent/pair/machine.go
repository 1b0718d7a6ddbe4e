package pair

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// machine is what all parts of this package share: the files below root, and the system.
type machine struct {
	root string
	sys  System
	net  Network
}

// path puts the root before an absolute path.
func (m *machine) path(p string) string { return m.root + p }

// run runs a program for d at most.
func (m *machine) run(ctx context.Context, d time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return m.sys.Run(ctx, nil, name, args...)
}

// mount is one line of /proc/mounts.
type mount struct {
	source, target, fstype string
	readOnly               bool
}

// mounts reads /proc/mounts, in which later ones lie over earlier ones.
func (m *machine) mounts() []mount {
	b, err := os.ReadFile(m.path("/proc/mounts"))
	if err != nil {
		return nil
	}
	return parseMounts(string(b))
}

func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		ro := f[3] == "ro" || strings.HasPrefix(f[3], "ro,")
		out = append(out, mount{unescape(f[0]), unescape(f[1]), f[2], ro})
	}
	return out
}

// unescape undoes the octal escapes of /proc/mounts.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mounted gives what is mounted on target, if anything.
func (m *machine) mounted(target string) (mount, bool) {
	all := m.mounts()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].target == m.path(target) {
			return all[i], true
		}
	}
	return mount{}, false
}

// flag reports whether a file of RunDir is there.
func (m *machine) flag(path string) bool {
	_, err := os.Lstat(m.path(path))
	return err == nil
}

// remove deletes a file.
func (m *machine) remove(path string) error { return os.Remove(m.path(path)) }

// write makes a file anew, by rename. After a crash it is the old one or the new one, and whole.
func (m *machine) write(path string, content []byte, mode os.FileMode) error {
	full := m.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	tmp := full + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, full)
}

// word reads a small file without white space at its ends; "" when it cannot be read.
func (m *machine) word(path string) string {
	b, err := os.ReadFile(m.path(path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(b), "\x00"))
}

// processes gives the ids of the processes with that name (comm).
func (m *machine) processes(name string) []int {
	entries, _ := os.ReadDir(m.path("/proc"))
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && m.word(fmt.Sprintf("/proc/%d/comm", pid)) == name {
			out = append(out, pid)
		}
	}
	return out
}

// pause waits; it returns ctx's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
