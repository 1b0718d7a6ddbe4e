package pair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ServingFile is there while the resource agent has everything up: only then the daemon touches the volume. lockFile
// is held by who mounts or exports.
const (
	ServingFile = RunDir + "/serving"
	lockFile    = RunDir + "/lock"
)

// lock waits for d at most until nobody else mounts or exports.
func (m *machine) lock(ctx context.Context, d time.Duration) (unlock func(), err error) {
	if err := os.MkdirAll(m.path(RunDir), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(m.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(d); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if time.Now().After(deadline) || pause(ctx, 20*time.Millisecond) != nil {
			f.Close()
			return nil, fmt.Errorf("pair: %s: somebody else mounts or exports: %w", lockFile, err)
		}
	}
}

// kept reads the contents that the volume had last, or those that this half was told when the volume has none.
func (m *machine) kept() (Contents, error) {
	var errs []error
	for _, file := range []string{keptFile, RunDir + "/contents.json"} {
		var c Contents
		b, err := os.ReadFile(m.path(file))
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("pair: %s: %w", file, err))
		}
	}
	return Contents{}, errors.Join(errs...)
}

// export offers what contents list and the volume has, and nothing else. It gives the images that are offered. What
// can't be offered is in the error, and does not keep the rest back. Aside says what keeps no directory from being exported
// as contents say: an image that can't be offered, and what is exported no more and still in use. The caller holds the
// lock.
func (m *machine) export(ctx context.Context, c Contents) (images []string, aside, err error) {
	all, err := offers(c)
	errs, asides := []error{err}, []error(nil)
	if err := m.mountRoot(); err != nil {
		return nil, nil, errors.Join(append(errs, err)...)
	}
	volume, err := os.Open(m.path(Volume))
	if err != nil {
		return nil, nil, errors.Join(append(errs, fmt.Errorf("pair: %w", err))...)
	}
	defer volume.Close()
	var there []offer
	mounted := m.below(ExportDir)
	for _, o := range all {
		if above := slices.IndexFunc(all, func(up offer) bool { return up.file == "" && strings.HasPrefix(o.path, up.path+"/") }); above >= 0 {
			// Its mount point would be in a directory that clients write in.
			errs = append(errs, fmt.Errorf("pair: export %s lies in %s, which is exported as well", o.path, all[above].path))
			continue
		}
		if !slices.Contains(mounted, ExportDir+"/"+o.path) {
			err := m.mountOffer(volume, o)
			switch {
			case err != nil && o.file != "":
				asides = append(asides, err)
				continue
			case err != nil:
				errs = append(errs, err)
				continue
			}
		}
		there = append(there, o)
	}
	if err := m.exportfs(ctx, exportsText(c, there)); err != nil {
		return nil, errors.Join(asides...), errors.Join(append(errs, err)...)
	}
	for _, target := range slices.Backward(mounted) {
		if target == ExportDir || slices.ContainsFunc(all, func(o offer) bool { return ExportDir+"/"+o.path == target }) {
			continue
		}
		if err := m.sys.Unmount(m.path(target)); err != nil {
			asides = append(asides, fmt.Errorf("pair: it is exported no more, and still in use: %w", err))
		}
	}
	for _, i := range c.Images {
		if slices.ContainsFunc(there, func(o offer) bool { return o.path == i.path() }) {
			images = append(images, i.ref())
		}
	}
	return images, errors.Join(asides...), errors.Join(errs...)
}

// mountRoot mounts the tmpfs that is the root of the exports.
func (m *machine) mountRoot() error {
	if _, ok := m.mounted(ExportDir); ok {
		return nil
	}
	if err := os.MkdirAll(m.path(ExportDir), 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return m.sys.Mount("muster-pair", m.path(ExportDir), "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=4m")
}

func (m *machine) mountOffer(volume *os.File, o offer) error {
	target := m.path(ExportDir + "/" + o.path)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if o.file != "" {
		if _, err := os.Stat(m.path(o.file)); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
		return m.sys.MountFile(m.path(o.file), target)
	}
	dir, err := beneath(volume, o.path)
	if err != nil {
		return fmt.Errorf("pair: export: %w", err)
	}
	defer dir.Close()
	return m.sys.Bind(dir, target)
}

// below lists what is mounted on a directory and below it, in the order in which it was mounted.
func (m *machine) below(dir string) []string {
	var out []string
	for _, mt := range m.mounts() {
		target := strings.TrimPrefix(mt.target, m.root)
		if target == dir || strings.HasPrefix(target, dir+"/") {
			out = append(out, target)
		}
	}
	return out
}

// exportfs makes the kernel's exports those of text. Nothing is done when they are that already.
func (m *machine) exportfs(ctx context.Context, text string) error {
	done := RunDir + "/exported"
	have, _ := os.ReadFile(m.path(exportsFile))
	if string(have) == text && m.flag(done) {
		return nil
	}
	os.Remove(m.path(done))
	if err := m.write(exportsFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if _, err := m.run(ctx, 30*time.Second, "exportfs", "-ra"); err != nil {
		return err
	}
	return m.write(done, nil, 0o600)
}

// caches are the kernel's, of what is exported to whom. Their entries hold mounts.
var caches = []string{"auth.unix.ip", "auth.unix.gid", "nfsd.fh", "nfsd.export"}

// unexport takes back everything: nfsd does not run, and what the kernel remembers is forgotten. (exportfs would do the
// same, and take a second on a busy machine.)
func (m *machine) unexport(ctx context.Context) error {
	errs := []error{gone(os.Remove(m.path(RunDir + "/exported"))), gone(os.Remove(m.path(exportsFile)))}
	for _, c := range caches {
		file := "/proc/net/rpc/" + c + "/flush"
		if m.flag(file) {
			errs = append(errs, m.tell(file, "1\n")) // any number flushes
		}
	}
	return errors.Join(errs...)
}
