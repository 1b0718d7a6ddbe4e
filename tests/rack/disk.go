package rack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Disk is a data disk of a machine, a virtio one (/dev/vda, /dev/vdb, … in Linux). It keeps what was written
// through every power cycle: what the machine flushed, and, since cutting a machine's power does not cut the
// host's, what it only wrote too.
type Disk struct {
	// SizeMiB is the size in MiB. Required. A disk takes as much space of the host's as was written to it.
	SizeMiB int `json:"sizeMiB"`
	// Serial is the serial number, at most 20 characters; empty means derived from the machine's MAC and the
	// disk's place: the same in every run.
	Serial string `json:"serial,omitempty"`
	// From is a file that the disk begins with a copy of: that of another machine's disk, say. Empty means a
	// blank disk.
	From string `json:"from,omitempty"`
}

// maxSerial is the length of a virtio disk's serial number (VIRTIO 1.2, section 5.2.6.1).
const maxSerial = 20

// check fills what is zero in disk i of the machine with spec s, and says what is wrong with it.
func (d *Disk) check(s MachineSpec, i int) error {
	if d.Serial == "" {
		d.Serial = fmt.Sprintf("D%d-%s", i+1, strings.ToUpper(strings.ReplaceAll(s.MAC.String(), ":", "")))
	}
	switch {
	case d.SizeMiB <= 0:
		return fmt.Errorf("rack: disk %d of %s: a size of %d MiB: %w", i, s.Name, d.SizeMiB, fs.ErrInvalid)
	case len(d.Serial) > maxSerial:
		return fmt.Errorf("rack: disk %d of %s: the serial number %q has more than %d characters: %w", i, s.Name, d.Serial, maxSerial, fs.ErrInvalid)
	}
	return nil
}

// make makes the disk's file at path, in the place of what is there.
func (d Disk) make(path string) (err error) {
	fresh := path + ".new"
	f, err := os.Create(fresh)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(fresh, path)
		}
		if err != nil {
			os.Remove(fresh)
		}
	}()
	size := int64(d.SizeMiB) << 20
	if d.From != "" {
		if err := d.fill(f, size); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// fill copies From; what is zero there takes no space here.
func (d Disk) fill(f *os.File, size int64) error {
	in, err := os.Open(d.From)
	if err != nil {
		return err
	}
	defer in.Close()
	block := make([]byte, 64<<10)
	zero := make([]byte, len(block))
	for at := int64(0); ; {
		n, err := io.ReadFull(in, block)
		if at+int64(n) > size {
			return fmt.Errorf("%s does not fit into %d MiB: %w", d.From, d.SizeMiB, fs.ErrInvalid)
		}
		if !slices.Equal(block[:n], zero[:n]) {
			if _, err := f.WriteAt(block[:n], at); err != nil {
				return err
			}
		}
		if at += int64(n); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// args are QEMU's for disk i in a file. The cache is the host's, and a guest's flush is the host's fdatasync.
func (d Disk) args(i int, path string) []string {
	return []string{
		"-drive", fmt.Sprintf("if=none,id=disk%d,file=%s,format=raw,cache=writeback,discard=unmap", i, quote(path)),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s", i, quote(d.Serial)),
	}
}

// Disk is the file of disk i, from 0: all its bytes, to be written only while the machine is off.
func (m *Machine) Disk(i int) string { return m.file(fmt.Sprintf("disk%d.raw", i)) }

// ReplaceDisk puts another disk in the place of disk i, whose content is lost. Its error wraps fs.ErrInvalid when
// the machine is on, fs.ErrNotExist when it has no such disk.
func (m *Machine) ReplaceDisk(i int, d Disk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i < 0 || i >= len(m.disks) {
		return fmt.Errorf("rack: %s has no disk %d: %w", m.spec.Name, i, fs.ErrNotExist)
	}
	if m.running() {
		return fmt.Errorf("rack: replace disk %d of %s: it is on: %w", i, m.spec.Name, fs.ErrInvalid)
	}
	if err := d.check(m.spec, i); err != nil {
		return err
	}
	if err := d.make(m.Disk(i)); err != nil {
		return fmt.Errorf("rack: replace disk %d of %s: %w", i, m.spec.Name, err)
	}
	m.disks[i] = d
	m.rack.log.Info("disk replaced", "node", m.spec.Name, "disk", i, "serial", d.Serial)
	return nil
}
