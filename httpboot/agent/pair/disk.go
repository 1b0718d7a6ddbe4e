package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// disk is a whole disk of the machine.
type disk struct {
	// name is the kernel's, sda; device is /dev/sda.
	name, device string
	// serial is its serial number, or what it has instead; "" for a disk without.
	serial string
	// size is in bytes.
	size int64
}

// id is what the disk is called towards the boot server.
func (d disk) id() string {
	if d.serial != "" {
		return d.serial
	}
	return d.device
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:+@,=-]+$`)

// shellWord is s as one word of a command that people copy: a disk says any serial number.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (d disk) String() string {
	s := d.device + ", " + gibibytes(d.size)
	if d.serial != "" {
		s += ", serial " + d.serial
	}
	return s
}

func gibibytes(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// notDisks are block devices without hardware of their own, and those that take other media.
var notDisks = []string{"loop", "ram", "zram", "dm-", "md", "drbd", "nbd", "sr", "fd", "mtd", "bcache"}

// disks lists the disks that a pair could use: whole, writable, fixed, with a size.
func (m *machine) disks() []disk {
	entries, _ := os.ReadDir(m.path("/sys/block"))
	var out []disk
next:
	for _, e := range entries {
		for _, p := range notDisks {
			if strings.HasPrefix(e.Name(), p) {
				continue next
			}
		}
		dir := "/sys/block/" + e.Name()
		sectors, _ := strconv.ParseInt(m.word(dir+"/size"), 10, 64)
		if sectors == 0 || m.word(dir+"/ro") == "1" || m.word(dir+"/removable") == "1" || m.flag(dir+"/hidden") && m.word(dir+"/hidden") == "1" {
			continue
		}
		out = append(out, disk{name: e.Name(), device: "/dev/" + e.Name(), serial: m.serial(dir), size: sectors * 512})
	}
	return out
}

// serial reads a disk's serial number where its kind has it: virtio, NVMe, SCSI.
func (m *machine) serial(dir string) string {
	for _, file := range []string{"/serial", "/device/serial"} {
		if s := m.word(dir + file); s != "" {
			return s
		}
	}
	// The unit serial number page (SPC-4 §7.8.15): four bytes of header, then text.
	if b, err := os.ReadFile(m.path(dir + "/device/vpd_pg80")); err == nil && len(b) > 4 {
		if s := strings.TrimSpace(strings.Trim(string(b[4:]), "\x00")); s != "" {
			return s
		}
	}
	for _, file := range []string{"/wwid", "/device/wwid"} {
		if s := m.word(dir + file); s != "" {
			return strings.Join(strings.Fields(s), " ")
		}
	}
	return ""
}

// udevSerial asks udev for what the kernel does not show: the serial number of SATA disks on old controllers.
func (m *machine) udevSerial(ctx context.Context, d disk) string {
	out, err := m.run(ctx, 10*time.Second, "udevadm", "info", "--query=property", "--name="+d.device)
	if err != nil {
		return ""
	}
	short, long := "", ""
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "ID_SERIAL_SHORT":
			short = v
		case "ID_SERIAL":
			long = v
		}
	}
	if short != "" {
		return short
	}
	return long
}

// find gives the one disk that the rule fits. Otherwise the error is a sentence with all that there are; it wraps
// fs.ErrNotExist for none and fs.ErrInvalid for several or a rule that says nothing.
func (m *machine) find(ctx context.Context, r Rule) (disk, error) {
	if r == (Rule{}) {
		return disk{}, fmt.Errorf("the pool's rule for the disk says nothing: it needs a path, a serial or a size: %w", fs.ErrInvalid)
	}
	if _, err := path.Match(r.Serial, ""); err != nil {
		return disk{}, fmt.Errorf("the pool's rule for the disk: serial %q is no pattern: %w: %w", r.Serial, fs.ErrInvalid, err)
	}
	all := m.disks()
	var fit []disk
	for i, d := range all {
		if d.serial == "" {
			d.serial = m.udevSerial(ctx, d)
			all[i] = d
		}
		if m.fits(r, d) {
			fit = append(fit, d)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return disk{}, sentence{fmt.Sprintf("%d disks fit the rule (%v): %s; it must fit one", len(fit), r, list(fit)), fs.ErrInvalid}
	case len(all) == 0:
		return disk{}, sentence{"the machine shows no disk at all", fs.ErrNotExist}
	}
	return disk{}, sentence{fmt.Sprintf("no disk fits the rule (%v); there are: %s", r, list(all)), fs.ErrNotExist}
}

// sentence is an error for people, of a kind for programs.
type sentence struct {
	text string
	kind error
}

func (s sentence) Error() string { return s.text }
func (s sentence) Unwrap() error { return s.kind }

func list(all []disk) string {
	var parts []string
	for _, d := range all {
		parts = append(parts, d.String())
	}
	return strings.Join(parts, "; ")
}

// String says the rule as rack.yaml does.
func (r Rule) String() string {
	var parts []string
	if r.Path != "" {
		parts = append(parts, "path "+r.Path)
	}
	if r.Serial != "" {
		parts = append(parts, "serial "+r.Serial)
	}
	if r.SizeMin > 0 {
		parts = append(parts, fmt.Sprintf("at least %g GiB", r.SizeMin))
	}
	return strings.Join(parts, ", ")
}

func (m *machine) fits(r Rule, d disk) bool {
	if r.Serial != "" {
		if ok, err := path.Match(strings.ToLower(r.Serial), strings.ToLower(d.serial)); !ok || err != nil || d.serial == "" {
			return false
		}
	}
	if r.SizeMin > 0 && float64(d.size) < r.SizeMin*(1<<30) {
		return false
	}
	return r.Path == "" || m.device(r.Path) == d.device
}

// device resolves the links of /dev/disk; it gives a name below /dev, or "".
func (m *machine) device(p string) string {
	real, err := filepath.EvalSymlinks(m.path(path.Clean(p)))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(real, m.root)
}

// held says who holds a disk, "" when nobody does: a mount, swap, a device on top of it.
func (m *machine) held(d disk) string {
	parts, _ := filepath.Glob(m.path("/sys/block/" + d.name + "/" + d.name + "*"))
	names := []string{d.name}
	for _, p := range parts {
		names = append(names, filepath.Base(p))
	}
	for _, n := range names {
		dir := "/sys/block/" + d.name
		if n != d.name {
			dir += "/" + n
		}
		if up, _ := os.ReadDir(m.path(dir + "/holders")); len(up) > 0 {
			return fmt.Sprintf("%s is in use by %s", n, up[0].Name())
		}
		for _, mt := range m.mounts() {
			if mt.source == "/dev/"+n {
				return fmt.Sprintf("%s is mounted on %s", n, mt.target)
			}
		}
		if b, err := os.ReadFile(m.path("/proc/swaps")); err == nil && strings.Contains("\n"+string(b), "\n/dev/"+n+" ") {
			return n + " is swap space"
		}
	}
	if err := m.sys.Exclusive(m.path(d.device)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return err.Error()
		}
		return fmt.Sprintf("%s is held open: %v", d.name, err)
	}
	return ""
}
