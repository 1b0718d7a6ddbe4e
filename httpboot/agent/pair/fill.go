package pair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

// made is what the active half has of the contents.
type made struct {
	images   []string
	revision string
}

// refill is the time between two tries to make contents so that could not be made.
const refill = 10 * time.Second

// recheck is the time between two looks whether contents that were made so still are.
const recheck = 30 * time.Second

// keepContents makes so, on the active half, what the volume is to have, whenever that may have changed. It ends with
// ctx.
func (d *Daemon) keepContents(ctx context.Context) {
	var failed, checked time.Time
	tried := "" // the revision that they are of
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.fill:
		}
		d.mu.Lock()
		c := d.contents
		d.mu.Unlock()
		// For a takeover of a volume that has none of its own yet.
		var err error
		if c.Revision != "" {
			err = d.machine.keep(RunDir+"/contents.json", c)
		}
		if !d.machine.flag(ServingFile) {
			d.setMade(made{})
			d.fail("contents", err)
			continue
		}
		d.mu.Lock()
		done := d.made.revision == c.Revision
		d.mu.Unlock()
		if c.Revision == "" || c.Revision == tried && time.Since(failed) < refill || done && failed.IsZero() && time.Since(checked) < recheck {
			continue
		}
		checked, tried = time.Now(), c.Revision
		err = errors.Join(err, d.makeContents(ctx, c))
		if ctx.Err() != nil {
			return
		}
		failed = time.Time{}
		switch {
		case !d.machine.flag(ServingFile):
			continue // it was taken away
		case err != nil:
			failed = time.Now()
		}
		d.fail("contents", err)
	}
}

func (d *Daemon) setMade(m made) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = m
}

// keep writes contents to a file, unless it has them.
func (m *machine) keep(file string, c Contents) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if have, err := os.ReadFile(m.path(file)); err == nil && string(have) == string(b) {
		return nil
	}
	if err := m.write(file, b, 0o600); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
}

// makeContents makes the volume and the exports as contents say. It stops at once when the resource agent takes the
// volume away. What fails does not keep the rest back. The revision is reported when directories and exports are as contents
// say: images, which take long to load, are reported by themselves.
func (d *Daemon) makeContents(ctx context.Context, c Contents) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go d.watchServing(ctx, cancel) // ends with ctx
	settled := errors.Join(d.machine.keep(keptFile, c), d.makeDirs(c))
	images, aside, err := d.offer(ctx, c, settled)
	errs := []error{settled}
	loaded := false
	for _, i := range c.Images {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d.newer(c) {
			break
		}
		if slices.Contains(images, i.ref()) {
			continue
		}
		if err := d.load(ctx, i); err != nil {
			errs = append(errs, err)
			continue
		}
		loaded = true
	}
	if loaded {
		images, aside, err = d.offer(ctx, c, settled)
	}
	errs = append(errs, err)
	// What could not be loaded could not be offered either, and is said once.
	if loaded || len(images) == len(c.Images) {
		errs = append(errs, aside)
	}
	if !d.newer(c) {
		errs = append(errs, d.dropImages(c))
	}
	return errors.Join(errs...)
}

// newer says that other contents have come: somebody may wait for their directories, and the rest of the images comes with
// them.
func (d *Daemon) newer(c Contents) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.contents.Revision != "" && d.contents.Revision != c.Revision
}

// watchServing cancels when the resource agent begins to stop.
func (d *Daemon) watchServing(ctx context.Context, cancel func()) {
	for pause(ctx, 100*time.Millisecond) == nil {
		if !d.machine.flag(ServingFile) {
			cancel()
			return
		}
	}
}

// offer exports, under the lock, and tells what is offered by now, with the revision unless something that it is of could
// not be made so; settled is what is known of that.
func (d *Daemon) offer(ctx context.Context, c Contents, settled error) (images []string, aside, err error) {
	unlock, err := d.machine.lock(ctx, 30*time.Second)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	if !d.machine.flag(ServingFile) {
		return nil, nil, errors.New("pair: this half is active no more")
	}
	images, aside, err = d.machine.export(ctx, c)
	now := made{images: images}
	if settled == nil && err == nil {
		now.revision = c.Revision
	}
	d.setMade(now)
	return images, aside, err
}

func (d *Daemon) makeDirs(c Contents) error {
	volume, err := os.Open(d.machine.path(Volume))
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	defer volume.Close()
	var errs []error
	for _, dir := range c.Dirs {
		errs = append(errs, makeDir(volume, dir))
	}
	return errors.Join(errs...)
}

// load gets an image that is not there yet. It has its name only when it is whole, verified and on both disks.
func (d *Daemon) load(ctx context.Context, i Image) error {
	m := &d.machine
	if !i.safe() {
		return fmt.Errorf("pair: image %q is none: %w", i.ref(), fs.ErrInvalid)
	}
	file := m.path(i.file())
	if st, err := os.Stat(file); err == nil && st.Size() == i.Size {
		return nil
	}
	if total, used, err := m.sys.Capacity(m.path(Volume)); err == nil && total-used < i.Size-allocated(file+".part") {
		return fmt.Errorf("%s has %s and the volume %s left: %w", i.ref(), gibibytes(i.Size), gibibytes(total-used), errNoSpace)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	d.Console.Say("storage pair: %s is being loaded", i.ref())
	part, err := os.OpenFile(file+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	err = d.Store.Fetch(ctx, i.ref(), agent.RAMRoot{Squashfs: i.Squashfs, Seal: i.Seal, Size: i.Size}, part)
	if err == nil {
		err = part.Sync()
	}
	if cerr := part.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(file+".part", file)
	}
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	d.Console.Say("storage pair: %s is there, whole and verified", i.ref())
	return syncDir(filepath.Dir(file))
}

// allocated is the bytes that a file takes on its disk: one that is being loaded has holes.
func allocated(file string) int64 {
	var st unix.Stat_t
	if unix.Stat(file, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

var errNoSpace = errors.New("it does not fit")

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// dropImages deletes the files of images that contents do not list. They are exported no more; one that is still
// mounted, since a client holds it, stays until it is not.
func (d *Daemon) dropImages(c Contents) error {
	m := &d.machine
	files, _ := filepath.Glob(m.path(Volume + "/images/*/*"))
	mounted := m.below(ExportDir)
	var errs []error
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		text, _ := strings.CutSuffix(strings.TrimSuffix(filepath.Base(f), ".part"), ".squashfs")
		version, err := strconv.Atoi(text)
		listed := func(i Image) bool { return i.Name == name && i.Version == version }
		if err != nil || slices.ContainsFunc(c.Images, listed) || slices.Contains(mounted, ExportDir+"/"+Image{Name: name, Version: version}.path()) {
			continue
		}
		d.Console.Say("storage pair: image %s:%d is listed no more and goes", name, version)
		errs = append(errs, gone(os.Remove(f)))
		os.Remove(filepath.Dir(f)) // when it is empty
	}
	return errors.Join(errs...)
}
