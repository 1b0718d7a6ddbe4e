package rack

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// bootSector is a BIOS boot sector that writes itself to the next sector by INT 13h (AH=3) and says on COM1
// whether that was done.
var bootSector = append(append([]byte{
	0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // ds = es = 0
	0xb8, 0x01, 0x03, 0xbb, 0x00, 0x7c, 0xb9, 0x02, 0x00, 0xb6, 0x00, 0xcd, 0x13, // write 0x7c00 to cylinder 0, head 0, sector 2
	0xbe, 0x2b, 0x7c, 0x72, 0x02, 0xeb, 0x03, 0xbe, 0x35, 0x7c, // si = the first text, or where carry is set the second
	0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5, // print it
	0xf4, 0xeb, 0xfd, // for ever
}, "written\r\n\x00refused\r\n\x00"...), append(make([]byte, 510-63), 0x55, 0xaa)...)

const sanScript = `#!ipxe
sanboot --no-describe --drive 0x80
`

// TestDisk boots a machine from a disk that was filled, which writes to it and then loses its power.
func TestDisk(t *testing.T) {
	needsRack(t, "dnsmasq")
	r := newRack(t, Options{})
	startDnsmasq(t, r, sanScript)
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, bootSector, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := r.Add(MachineSpec{Firmware: BIOS, Disks: []Disk{{SizeMiB: 64, Serial: "DATA,1", From: image}, {SizeMiB: 16}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootWait)
	defer cancel()
	for range 2 { // the second time from what outlived the power cut
		if err := m.On(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.WaitConsole(ctx, regexp.MustCompile("written")); err != nil {
			t.Fatal(err)
		}
		if err := m.ReplaceDisk(1, Disk{SizeMiB: 16}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("replace a disk of a machine that is on: got error %v, want invalid", err)
		}
		if err := m.Off(); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1536)
		f, err := os.Open(m.Disk(0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(first, 0); err != nil {
			t.Error(err)
		}
		f.Close()
		if !bytes.Equal(first, append(append(bytes.Clone(bootSector), bootSector...), make([]byte, 512)...)) {
			t.Fatalf("the disk begins with %x", first)
		}
	}
	var dump strings.Builder
	r.Dump(&dump, 0)
	if strings.Contains(dump.String(), "refused") {
		t.Error(dump.String())
	}
}

// TestReplaceDisk looks at the files of disks and at what may not be.
func TestReplaceDisk(t *testing.T) {
	needsRack(t)
	r := newRack(t, Options{Accel: AccelTCG})
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte{7}, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, d := range map[string]Disk{
		"no size": {}, "long serial": {SizeMiB: 1, Serial: strings.Repeat("x", 21)}, "too small": {SizeMiB: 1, From: big},
	} {
		if _, err := r.Add(MachineSpec{Name: "bad", Firmware: BIOS, Disks: []Disk{d}}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: got error %v, want invalid", what, err)
		}
	}
	m, err := r.Add(MachineSpec{Name: "bad", Firmware: BIOS, Disks: []Disk{{SizeMiB: 1}, {SizeMiB: 512, From: big}}})
	if err != nil {
		t.Fatal("what was refused left something: ", err)
	}
	disks := m.Spec().Disks
	if len(disks) != 2 || disks[0].Serial == "" || disks[0].Serial == disks[1].Serial {
		t.Errorf("disks %+v: want different serial numbers", disks)
	}
	if b, err := os.ReadFile(m.Disk(0)); err != nil || !bytes.Equal(b, make([]byte, 1<<20)) {
		t.Errorf("disk 0 is not 1 MiB of zeroes: %d bytes, error %v", len(b), err)
	}
	if b, err := os.ReadFile(m.Disk(1)); err != nil || len(b) != 512<<20 || b[1<<20] != 7 || b[1<<20+1] != 0 {
		t.Errorf("disk 1 does not begin with the file: %d bytes, error %v", len(b), err)
	}
	if used := onDisk(t, m.Disk(1)); used > 4<<20 {
		t.Errorf("disk 1 takes %d bytes of the host's", used)
	}
	if err := m.ReplaceDisk(1, Disk{SizeMiB: 2, Serial: "fresh"}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(m.Disk(1)); err != nil || !bytes.Equal(b, make([]byte, 2<<20)) {
		t.Errorf("the replaced disk is not 2 MiB of zeroes: %d bytes, error %v", len(b), err)
	}
	if args := strings.Join(m.args(), " "); !strings.Contains(args, "drive=disk1,serial=fresh") || m.Spec().Disks[1].Serial != "fresh" {
		t.Errorf("the machine has not got the other disk: %s", args)
	}
	if err := m.ReplaceDisk(2, Disk{SizeMiB: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a disk that is not there: got error %v, want not exist", err)
	}
}

// onDisk is how many bytes a file takes.
func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}
