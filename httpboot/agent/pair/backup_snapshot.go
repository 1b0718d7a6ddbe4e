package pair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where a snapshot is while it lasts: the memory that takes what is overwritten meanwhile, and its file system.
const (
	copyDir   = RunDir + "/copy"
	copyRAM   = copyDir + "/ram"
	copyFile  = copyRAM + "/before"
	copyMount = copyDir + "/volume"
)

const (
	// copyChunk is what the kernel saves at a time, in sectors: 16 KiB, so that a small write does not cost much memory, and
	// a large one not many reads.
	copyChunk = 32
	// copyLeast is the least memory for a snapshot, in bytes.
	copyLeast = 1 << 20
	// copyShare is the part of the free memory that a snapshot takes, and copyMost the most bytes that it takes, unless
	// somebody says how much.
	copyShare = 3
	copyMost  = 16 << 30
)

// snapshot is the volume as it was at a time.
type snapshot struct {
	at time.Time
	// held is how long writes were held back for it.
	held time.Duration
	// room is what may be overwritten while it lasts, in bytes.
	room int64
}

// takeSnapshot takes one of the disk below DRBD, and mounts it. What is on this disk then is what a power cut would have
// left: every acknowledged write of the pair, since the active half waits for this one's word. ext4's journal is replayed
// into the snapshot, not into the disk. Room 0 means a third of the free memory; when it is used up the kernel drops the
// snapshot, and nothing else. Whatever this returns, dropSnapshot ends it.
func (m *machine) takeSnapshot(ctx context.Context, room int64) (snapshot, error) {
	d, err := m.layered()
	if err != nil {
		return snapshot{}, err
	}
	if room, err = m.room(d, room); err != nil {
		return snapshot{}, err
	}
	s := snapshot{room: room}
	loop, err := m.memory(ctx, room)
	if err != nil {
		return s, err
	}
	if err := m.module(ctx, "dm-snapshot", "/sys/module/dm_snapshot"); err != nil {
		return s, err
	}
	dm := m.sys.(Mapper) // or there were no layer
	// N: what it saves is not to outlive the machine's power.
	table := mapTable{d.size / 512, "snapshot", fmt.Sprintf("%s %s N %d", d.device, loop, copyChunk)}
	if err := dm.MapLoad(layerName, d.origin()); err != nil {
		return s, err
	}
	if err := dm.MapCreate(copyName, table); err != nil {
		return s, err
	}
	if s.at, s.held, err = cutOff(dm); err != nil {
		return s, err
	}
	c, err := dm.MapStatus(copyName)
	if err != nil {
		return s, err
	}
	if err := os.MkdirAll(m.path(copyMount), 0o700); err != nil {
		return s, fmt.Errorf("pair: %w", err)
	}
	return s, m.sys.Mount(c.device, m.path(copyMount), "ext4", unix.MS_RDONLY|unix.MS_NOATIME|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "")
}

// cutOff is the moment of the snapshot: nothing is written while it begins to count. Both are prepared, so that it is
// three calls to the kernel; a process that dies in between has a successor that goes on (see dropSnapshot).
func cutOff(dm Mapper) (at time.Time, held time.Duration, err error) {
	begin := time.Now()
	if err := dm.MapSuspend(layerName); err != nil {
		return at, 0, errors.Join(err, dm.MapResume(layerName))
	}
	at = time.Now()
	err = dm.MapResume(copyName)
	err = errors.Join(err, dm.MapResume(layerName))
	return at, time.Since(begin), err
}

// room decides how much may be overwritten while a snapshot lasts. More than the disk has is never needed.
func (m *machine) room(d disk, want int64) (int64, error) {
	free := m.freeMemory()
	room := want
	if room == 0 {
		room = min(free/copyShare, copyMost)
	}
	room = min(room, d.size+d.size/64)
	switch {
	case room < copyLeast:
		return 0, fmt.Errorf("a snapshot needs memory for what is overwritten meanwhile, at least %d MiB; this half has %d MiB free", copyLeast>>20, free>>20)
	case room > free/2:
		return 0, fmt.Errorf("%d MiB for what is overwritten meanwhile are more than half of the memory that this half has free (%d MiB)", room>>20, free>>20)
	}
	return room >> 20 << 20, nil
}

// freeMemory is what programs may have without anybody else's loss, in bytes.
func (m *machine) freeMemory() int64 {
	b, _ := os.ReadFile(m.path("/proc/meminfo"))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			return max(0, number(f[1])) << 10
		}
	}
	return 0
}

// memory makes a block device of that many bytes in RAM. They are taken at once: what is short is short before there is
// a snapshot, and nobody is killed for it later.
func (m *machine) memory(ctx context.Context, room int64) (loop string, err error) {
	if err := m.module(ctx, "loop", "/dev/loop-control"); err != nil {
		return "", err
	}
	if err := os.MkdirAll(m.path(copyRAM), 0o700); err != nil {
		return "", fmt.Errorf("pair: %w", err)
	}
	if err := m.sys.Mount("muster-copy", m.path(copyRAM), "tmpfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, fmt.Sprintf("mode=0700,size=%dk", room>>10+64)); err != nil {
		return "", err
	}
	f, err := os.OpenFile(m.path(copyFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("pair: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, room)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("pair: %d MiB of memory for a snapshot: %w", room>>20, err)
	}
	return m.run(ctx, 30*time.Second, "losetup", "--find", "--show", m.path(copyFile))
}

// snapshotUse is how many bytes have been overwritten since the snapshot. The error says that there is no snapshot any more.
func (m *machine) snapshotUse() (int64, error) {
	dm, ok := m.sys.(Mapper)
	if !ok {
		return 0, errors.New("pair: there is no device mapper")
	}
	s, err := dm.MapStatus(copyName)
	if err != nil {
		return 0, err
	}
	used, _, ok := strings.Cut(s.text, "/")
	sectors, err := strconv.ParseInt(used, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("the kernel has dropped the snapshot (%s): %w", strings.ToLower(s.text), errFull)
	}
	return sectors * 512, nil
}

var errFull = errors.New("more was overwritten while it lasted than there was memory for; try again in a quiet hour, or with more --room")

// dropSnapshot leaves nothing of a snapshot, whoever took it and however far that came, and has DRBD's disk as it
// was. It may be repeated. First of all writes that are held back go on.
func (m *machine) dropSnapshot(ctx context.Context) error {
	dm, ok := m.sys.(Mapper)
	if !ok {
		return nil
	}
	var errs []error
	layer, err := dm.MapStatus(layerName)
	there := err == nil
	if there && layer.suspended {
		errs = append(errs, dm.MapResume(layerName))
	}
	errs = append(errs, m.unmountCopy(ctx, copyMount))
	if _, err := dm.MapStatus(copyName); err == nil {
		errs = append(errs, removeMapped(ctx, dm, copyName))
	}
	if d, err := m.layered(); there && err == nil && (layer.loaded || layer.target != "linear") {
		if err := dm.MapLoad(layerName, d.linear()); err != nil {
			errs = append(errs, err)
		} else {
			errs = append(errs, dm.MapSuspend(layerName), dm.MapResume(layerName))
		}
	}
	errs = append(errs, m.dropMemory(ctx))
	return errors.Join(errs...)
}

// dropMemory gives the memory of a snapshot back.
func (m *machine) dropMemory(ctx context.Context) error {
	var errs []error
	loops, _ := filepath.Glob(m.path("/sys/block/loop*/loop/backing_file"))
	for _, file := range loops {
		if m.word(strings.TrimPrefix(file, m.root)) != m.path(copyFile) {
			continue
		}
		_, err := m.run(ctx, 30*time.Second, "losetup", "--detach", "/dev/"+filepath.Base(filepath.Dir(filepath.Dir(file))))
		errs = append(errs, err)
	}
	errs = append(errs, m.unmountCopy(ctx, copyRAM))
	for _, name := range []string{manifestFile, copyRAM, copyMount, copyDir} { // one by one: what is in a mount stays
		errs = append(errs, gone(os.Remove(m.path(name))))
	}
	return errors.Join(errs...)
}

// unmountCopy unmounts what is mounted there, which may be busy for a moment.
func (m *machine) unmountCopy(ctx context.Context, dir string) error {
	for try := 0; ; try++ {
		if _, ok := m.mounted(dir); !ok {
			return nil
		}
		err := m.sys.Unmount(m.path(dir))
		if err != nil && try == 100 {
			return err
		}
		if err != nil && pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// removeMapped removes a device, which may be busy for a moment.
func removeMapped(ctx context.Context, dm Mapper, name string) error {
	for try := 0; ; try++ {
		err := dm.MapRemove(name)
		if err == nil || try == 100 || !errors.Is(err, unix.EBUSY) || pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}
