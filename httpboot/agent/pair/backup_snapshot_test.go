package pair

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layeredMachine is one whose DRBD has its disk by the layer.
func layeredMachine(t *testing.T) (*mappedMachine, *machine) {
	t.Helper()
	f := newMappedMachine(newFakeMachine(t))
	f.disk("vda", "DATA-1", 64<<20)
	m := &machine{f.root, f, f}
	if err := m.link(t.Context(), disk{name: "vda", device: "/dev/vda", size: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	f.mapCalls()
	return f, m
}

// bare checks that nothing of a snapshot is left, and that DRBD's disk is as it was.
func (f *mappedMachine) bare(t *testing.T, what string) {
	t.Helper()
	l := f.devices[layerName]
	if len(f.devices) != 1 || l == nil || l.target != "linear" || l.suspended || l.loaded || l.now.params != "/dev/vda 0" || l.now.sectors != 64<<20/512 {
		t.Errorf("%s: the devices are %+v", what, f.devices)
	}
	if m := f.machine().below(copyDir); len(m) > 0 || f.machine().flag(copyDir) || f.machine().flag("/sys/block/loop0/loop") {
		t.Errorf("%s: it leaves the mounts %v, or its directory or loop", what, m)
	}
}

func TestLayer(t *testing.T) {
	f, m := layeredMachine(t)
	if to, _ := os.Readlink(f.root + DiskLink); to != "/dev/dm-0" || m.beneathLayer(to) != "/dev/vda" {
		t.Errorf("DRBD has %q", to)
	}
	f.bare(t, "new")
	vda := disk{name: "vda", device: "/dev/vda", size: 64 << 20}
	if err := m.link(t.Context(), vda); err != nil || len(f.mapCalls()) > 0 {
		t.Errorf("once more: %v, or it was made anew", err)
	}
	f.disk("vdb", "DATA-2", 64<<20)
	vdb := disk{name: "vdb", device: "/dev/vdb", size: 64 << 20}
	if err := m.link(t.Context(), vdb); err != nil || m.beneathLayer("/dev/dm-1") != "/dev/vdb" {
		t.Errorf("another disk: %v, %+v", err, f.devices)
	}
	if who := m.held(vda); who != "" {
		t.Errorf("the old one is held: %s", who)
	}
	if err := m.unlayer(t.Context()); err != nil || m.held(vdb) != "" {
		t.Errorf("unlayer: %v", err)
	}

	// Without it the pair works, and has no snapshots.
	f.fails["create "+layerName] = unix.ENOMEM
	if err := m.link(t.Context(), vda); err != nil {
		t.Fatal(err)
	}
	if to, _ := os.Readlink(f.root + DiskLink); to != "/dev/vda" {
		t.Errorf("without a layer DRBD has %q", to)
	}
	if _, err := m.takeSnapshot(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "without the layer") || !strings.Contains(err.Error(), unix.ENOMEM.Error()) {
		t.Errorf("a snapshot without a layer: %v", err)
	}
}

// TestSnapshot: writes are held back only while what was prepared begins to count.
func TestSnapshot(t *testing.T) {
	f, m := layeredMachine(t)
	s, err := m.takeSnapshot(t.Context(), 0)
	if err != nil || s.room != 4<<20 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := []string{"load muster-pair", "create muster-copy", "suspend muster-pair", "resume muster-copy", "resume muster-pair"}
	if got := f.mapCalls(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	if c, l := f.devices[copyName], f.devices[layerName]; c.now.params != "/dev/vda /dev/loop0 N 32" || l.target != "snapshot-origin" || l.now.params != "/dev/vda" {
		t.Errorf("%+v %+v", c, l)
	}
	if used, err := m.snapshotUse(); used != 16*512 || err != nil {
		t.Errorf("use %d, %v", used, err)
	}
	f.says("Invalid")
	if _, err := m.snapshotUse(); !errors.Is(err, errFull) {
		t.Errorf("use of one that was dropped: %v", err)
	}
	for range 2 {
		if err := m.dropSnapshot(t.Context()); err != nil {
			t.Error(err)
		}
		f.bare(t, "dropped")
	}
}

// TestSnapshotFails: whatever fails, or wherever a daemon was killed, the end leaves nothing, and first of all writes go
// on.
func TestSnapshotFails(t *testing.T) {
	broken := errors.New("broken")
	for _, call := range []string{"load muster-pair", "create muster-copy", "suspend muster-pair", "resume muster-copy", "resume muster-pair", "mount"} {
		f, m := layeredMachine(t)
		if call == "mount" {
			f.broken[copyMount] = broken
		} else {
			f.fails[call] = broken
		}
		if _, err := m.takeSnapshot(t.Context(), 0); !errors.Is(err, broken) {
			t.Errorf("%s: %v", call, err)
		}
		if l := f.devices[layerName]; l.suspended && call != "resume muster-pair" {
			t.Errorf("%s: writes are held back still", call)
		}
		clear(f.fails)
		f.mapCalls()
		if err := m.dropSnapshot(t.Context()); err != nil {
			t.Errorf("%s: %v", call, err)
		}
		if calls := f.mapCalls(); call == "resume muster-pair" && calls[0] != call {
			t.Errorf("writes go on after %q", calls)
		}
		f.bare(t, call)
	}
}

func TestRoom(t *testing.T) {
	f, m := layeredMachine(t)
	d := disk{device: "/dev/vda", size: 64 << 20}
	for _, tt := range []struct {
		free int64 // KiB
		want int64
		room int64 // 0: refused
	}{
		{12 << 10, 0, 4 << 20},
		{12 << 10, 1 << 20, 1 << 20},
		{12 << 10, 6 << 20, 6 << 20},
		{12 << 10, 7 << 20, 0},
		{12 << 10, 1000, 0},
		{2 << 10, 0, 0},
		{1 << 20, 0, 65 << 20},   // all of the disk, and some more
		{128 << 20, 0, 65 << 20}, // which is less than the most
	} {
		f.file("/proc/meminfo", "MemAvailable: "+itoa(tt.free)+" kB\n")
		if got, err := m.room(d, tt.want); got != tt.room || (err == nil) != (tt.room > 0) {
			t.Errorf("%d KiB free, want %d: %d, %v", tt.free, tt.want, got, err)
		}
	}
	d.size = 1 << 40
	if got, err := m.room(d, 0); got != copyMost || err != nil {
		t.Errorf("of much memory for a large disk %d, %v", got, err)
	}
}
