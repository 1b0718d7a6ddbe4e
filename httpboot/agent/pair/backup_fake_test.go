package pair

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mappedMachine is a fakeMachine with a device mapper. Its snapshots show the volume as it is when they are mounted.
type mappedMachine struct {
	*fakeMachine

	mapMu   sync.Mutex
	devices map[string]*mapped
	next    int
	// fails are calls that fail: "suspend muster-pair".
	fails map[string]error
	calls []string
	// volume fills a snapshot's mount point.
	volume func(dir string)
	// text is what the kernel says of a snapshot.
	text string
}

type mapped struct {
	mapStatus
	now, later *mapTable
	disk       string
}

func newMappedMachine(f *fakeMachine) *mappedMachine {
	m := &mappedMachine{fakeMachine: f, devices: map[string]*mapped{}, fails: map[string]error{}, volume: func(string) {}, text: "16/8192 16"}
	f.file("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 12288 kB\n")
	f.program("losetup", func(args []string) (string, error) {
		if args[0] == "--detach" {
			return "", os.RemoveAll(f.root + "/sys/block/loop0/loop")
		}
		f.file("/sys/block/loop0/loop/backing_file", args[2]+"\n")
		return "/dev/loop0", nil
	})
	return m
}

func (m *mappedMachine) call(what, name string) error {
	m.calls = append(m.calls, what+" "+name)
	return m.fails[what+" "+name]
}

// did gives the mapper's calls since the last time.
func (m *mappedMachine) mapCalls() []string {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	out := m.calls
	m.calls = nil
	return out
}

func (m *mappedMachine) MapCreate(name string, t mapTable) error {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	if err := m.call("create", name); err != nil {
		return err
	}
	if m.devices[name] != nil {
		return unix.EBUSY
	}
	dm := fmt.Sprintf("dm-%d", m.next)
	m.next++
	disk := filepath.Base(strings.Fields(t.params)[0])
	m.file("/dev/"+dm, "")
	m.file("/sys/block/"+dm+"/slaves/"+disk, "")
	m.file("/sys/block/"+disk+"/holders/"+dm, "")
	m.devices[name] = &mapped{mapStatus: mapStatus{device: "/dev/" + dm, loaded: true}, later: &t, disk: disk}
	return nil
}

func (m *mappedMachine) MapLoad(name string, t mapTable) error {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	if err := m.call("load", name); err != nil {
		return err
	}
	d := m.devices[name]
	if d == nil {
		return unix.ENXIO
	}
	d.later, d.loaded = &t, true
	return nil
}

func (m *mappedMachine) MapSuspend(name string) error {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	if err := m.call("suspend", name); err != nil {
		return err
	}
	m.devices[name].suspended = true
	return nil
}

func (m *mappedMachine) MapResume(name string) error {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	if err := m.call("resume", name); err != nil {
		return err
	}
	d := m.devices[name]
	if d.later != nil {
		d.now, d.later, d.loaded = d.later, nil, false
	}
	d.suspended, d.target = false, d.now.target
	return nil
}

func (m *mappedMachine) MapRemove(name string) error {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	if err := m.call("remove", name); err != nil {
		return err
	}
	d := m.devices[name]
	if d == nil {
		return unix.ENXIO
	}
	delete(m.devices, name)
	dm := filepath.Base(d.device)
	os.RemoveAll(m.root + "/sys/block/" + dm)
	os.Remove(m.root + "/dev/" + dm)
	os.Remove(m.root + "/sys/block/" + d.disk + "/holders/" + dm)
	return nil
}

func (m *mappedMachine) MapStatus(name string) (mapStatus, error) {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	d := m.devices[name]
	if d == nil {
		return mapStatus{}, unix.ENXIO
	}
	s := d.mapStatus
	if s.target == "snapshot" {
		s.text = m.text
	}
	return s, nil
}

// says makes the kernel say something of its snapshots.
func (m *mappedMachine) says(text string) {
	m.mapMu.Lock()
	defer m.mapMu.Unlock()
	m.text = text
}

func (m *mappedMachine) Mount(source, target, fstype string, flags uintptr, data string) error {
	if err := m.fakeMachine.Mount(source, target, fstype, flags, data); err != nil {
		return err
	}
	if target == m.root+copyMount {
		m.volume(target)
	}
	return nil
}

// Unmount takes what a mount has shown with it.
func (m *mappedMachine) Unmount(target string) error {
	err := m.fakeMachine.Unmount(target)
	if err == nil && strings.HasPrefix(target, m.root+copyDir) {
		err = os.RemoveAll(target)
		if err == nil {
			err = os.Mkdir(target, 0o700)
		}
	}
	return err
}

// copyServer is a boot server for one copy: it takes pieces, or gives them.
type copyServer struct {
	fakeServer
	mu   sync.Mutex
	took []byte
	give []byte
	// hear is asked first, and may fail.
	hear func(CopyPiece) error
	done chan CopyPiece
}

func (s *copyServer) Call(ctx context.Context, _ time.Duration, op string, in, out any) error {
	p, ok := in.(CopyPiece)
	if op != OpCopy || !ok {
		return s.fakeServer.Call(ctx, 0, op, in, out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hear != nil {
		if err := s.hear(p); err != nil {
			return err
		}
	}
	answer := out.(*CopyPiece)
	switch {
	case p.Done:
		s.done <- p
	case len(p.Data) > 0:
		if p.Offset != int64(len(s.took)) {
			return fmt.Errorf("a piece at %d after %d bytes", p.Offset, len(s.took))
		}
		s.took = append(s.took, p.Data...)
	default:
		end := min(p.Offset+CopyPieceSize, int64(len(s.give)))
		*answer = CopyPiece{Data: slices.Clone(s.give[p.Offset:end]), End: end == int64(len(s.give))}
	}
	return nil
}

func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"tar", "zstd", "nice"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
}
