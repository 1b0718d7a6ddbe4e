package pair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindDisk(t *testing.T) {
	f := newFakeMachine(t)
	f.disk("loop0", "DATA-loop", testDisk)
	f.disk("zram0", "DATA-zram", testDisk)
	f.disk("dm-0", "DATA-dm", testDisk)
	f.disk("sr0", "DATA-cd", testDisk)
	f.disk("sda", "", 8<<30)
	f.file("/sys/block/sda/device/vpd_pg80", "\x00\x80\x00\x08  SYS-A1")
	f.disk("sdb", "", 16<<30)
	f.file("/sys/block/sdb/device/wwid", "t10.ATA     DISK              W123\n")
	f.disk("vda", "DATA-1", 4<<30)
	f.disk("sdc", "DATA-ro", testDisk)
	f.file("/sys/block/sdc/ro", "1\n")
	f.disk("sdd", "DATA-stick", testDisk)
	f.file("/sys/block/sdd/removable", "1\n")
	f.disk("sde", "DATA-empty", 0)
	f.disk("sdf", "", 1<<30)
	f.program("udevadm", func(args []string) (string, error) {
		return "DEVNAME=/dev/sdf\nID_SERIAL=Maker_Model_U77\nID_SERIAL_SHORT=U77\n", nil
	})
	f.dir("/dev/disk/by-path")
	if err := os.Symlink("../../sdb", f.root+"/dev/disk/by-path/pci-1"); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		rule Rule
		want string // the serial, or what the error says
		kind error
	}{
		{rule: Rule{Serial: "data-?"}, want: "DATA-1"},
		{rule: Rule{Serial: "SYS-*"}, want: "SYS-A1"},
		{rule: Rule{Serial: "U77"}, want: "U77"},
		{rule: Rule{Path: "/dev/disk/by-path/pci-1"}, want: "t10.ATA DISK W123"},
		{rule: Rule{Path: "/dev/vda"}, want: "DATA-1"},
		{rule: Rule{SizeMin: 10}, want: "t10.ATA DISK W123"},
		{rule: Rule{SizeMin: 3, Serial: "D*"}, want: "DATA-1"},
		{rule: Rule{SizeMin: 2}, want: "3 disks fit the rule (at least 2 GiB): /dev/sda, 8.0 GiB, serial SYS-A1; /dev/sdb", kind: fs.ErrInvalid},
		{rule: Rule{Path: "/dev/disk/by-path/pci-9"}, want: "no disk fits", kind: fs.ErrNotExist},
		{rule: Rule{Path: "/dev/loop0"}, want: "no disk fits", kind: fs.ErrNotExist},
		{rule: Rule{Path: "/dev/../dev/sdc"}, want: "no disk fits", kind: fs.ErrNotExist},
		{rule: Rule{Serial: "DATA-*", SizeMin: 100}, want: "no disk fits", kind: fs.ErrNotExist},
		{rule: Rule{}, want: "says nothing", kind: fs.ErrInvalid},
		{rule: Rule{Serial: "[a"}, want: "is no pattern", kind: fs.ErrInvalid},
	}
	for _, tt := range tests {
		d, err := f.machine().find(t.Context(), tt.rule)
		if tt.kind != nil {
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v: %v, %v; want %q", tt.rule, d, err, tt.want)
			}
			continue
		}
		if err != nil || d.serial != tt.want {
			t.Errorf("%v: %v, %v; want %s", tt.rule, d, err, tt.want)
		}
	}
}

// loop makes a loop device of a file that is zero.
func loop(t *testing.T, size int64) disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: loop devices")
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("losetup: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("losetup: %v: %s", err, out)
		}
	})
	return disk{name: filepath.Base(device), device: device, size: size}
}

func write(t *testing.T, d disk, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(d.device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// With real devices, and the tools that a storage machine has.
func TestProbe(t *testing.T) {
	const size = 320 << 20 // the least that XFS takes
	mkfs := func(name string, args ...string) func(t *testing.T, d disk) {
		return func(t *testing.T, d disk) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("needs %s", name)
			}
			if out, err := exec.Command(name, append(args, d.device)...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
		}
	}
	put := func(at int64, b ...byte) func(t *testing.T, d disk) {
		return func(t *testing.T, d disk) {
			if at < 0 {
				at += size
			}
			write(t, d, at, b)
		}
	}
	tests := []struct {
		name    string
		fill    func(t *testing.T, d disk)
		carries string
	}{
		{"blank", func(*testing.T, disk) {}, ""},
		{"ext4", mkfs("mkfs.ext4", "-q", "-L", "home"), `a file system (ext4) labelled "home"`},
		{"xfs", mkfs("mkfs.xfs", "-q"), "a file system (xfs)"},
		{"swap", mkfs("mkswap", "-L", "s"), `swap space labelled "s"`},
		// A boot sector's mark makes a partition table of anything (BIOS); type 0x83, from sector 2048 on.
		{"MBR", put(446, append([]byte{0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 4, 0}, append(make([]byte, 48), 0x55, 0xaa)...)...), "a partition table (dos)"},
		{"LVM", func(t *testing.T, d disk) { write(t, d, 512, lvmLabel()) }, "LVM"},
		{"LUKS", put(0, []byte("LUKS\xba\xbe\x00\x02")...), ""}, // (a header that is not whole is unknown data)
		{"RAID 1.2", func(t *testing.T, d disk) { write(t, d, 4096, raidSuperblock()) }, "RAID (linux_raid_member)"},
		{"a byte in the first MiB", put(1000000, 7), "its first MiB is not empty"},
		{"a byte at the very end", put(-1, 7), "its last MiB is not empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loop(t, size)
			tt.fill(t, d)
			m := &machine{sys: Linux{}}
			meta, carries, err := m.probe(context.Background(), d)
			if err != nil || meta != "" {
				t.Fatalf("meta %q, %v", meta, err)
			}
			if tt.name != "blank" && (carries == "" || !strings.Contains(carries, tt.carries)) || tt.name == "blank" && carries != "" {
				t.Errorf("it carries %q, want %q", carries, tt.carries)
			}
			if who := m.held(d); who != "" {
				t.Fatalf("held: %s", who)
			}
			if err := m.erase(context.Background(), d); err != nil {
				t.Fatal(err)
			}
			if _, carries, err := m.probe(context.Background(), d); carries != "" || err != nil {
				t.Errorf("erased, it carries %q, %v", carries, err)
			}
		})
	}
}

// DRBD's own metadata are seen for themselves, and what a replicated disk carries beside them.
func TestProbeMeta(t *testing.T) {
	d := loop(t, testDisk)
	b := make([]byte, metaSize)
	copy(b[metaUUIDAt:], []byte{0x6b, 0x5f, 0x0b, 0xd0, 0x0d, 0x91, 0x6c, 0x08})
	copy(b[metaMagicAt:], []byte{0x83, 0x74, 0x02, 0x6b})
	copy(b[64:], []byte{0, 0, 0, 0x50, 0xff, 0xff, 0xff, 0xc0, 0, 0, 1, 1, 0xff, 0xff, 0xff, 0xb8, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8})
	write(t, d, testDisk-metaSize, b)
	write(t, d, testDisk-10*metaSize, []byte("the bitmap"))
	m := &machine{sys: Linux{}}
	meta, carries, err := m.probe(t.Context(), d)
	if meta != "6b5f0bd00d916c08" || carries != "" || err != nil {
		t.Errorf("meta %q, carries %q, %v", meta, carries, err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-L", label, d.device, "60M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	meta, carries, err = m.probe(t.Context(), d)
	if meta != "6b5f0bd00d916c08" || carries != `a file system (ext4) labelled "muster-pair"` || err != nil {
		t.Errorf("meta %q, carries %q, %v", meta, carries, err)
	}
	b[63] = 0x6d // DRBD 9
	write(t, d, testDisk-metaSize, b)
	if meta, carries, err = m.probe(t.Context(), d); meta != "" || carries == "" || err != nil {
		t.Errorf("DRBD 9: meta %q, carries %q, %v", meta, carries, err)
	}
}

func TestHeldDisk(t *testing.T) {
	d := loop(t, testDisk)
	if out, err := exec.Command("mkfs.ext4", "-q", d.device).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	dir := t.TempDir()
	if err := (Linux{}).Mount(d.device, dir, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer Linux{}.Unmount(dir)
	m := &machine{sys: Linux{}}
	if who := m.held(d); who != fmt.Sprintf("%s is mounted on %s", d.name, dir) {
		t.Errorf("held by %q", who)
	}
	if err := m.erase(t.Context(), d); err == nil {
		t.Error("a mounted disk was erased")
	}
	if err := (Linux{}).Exclusive(d.device); err == nil {
		t.Error("a mounted disk is nobody's")
	}
}

func TestShellWord(t *testing.T) {
	for serial, want := range map[string]string{
		"WD-WX31A": "WD-WX31A", "/dev/vdb": "/dev/vdb", "SN 1 2": "'SN 1 2'", "x; reboot": "'x; reboot'", "$(a)'b": `'$(a)'\''b'`, "": "''",
	} {
		if got := shellWord(serial); got != want {
			t.Errorf("%q is %s, want %s", serial, got, want)
		}
	}
}
