package rack

import (
	"fmt"
	"strconv"
	"strings"
)

// The files that QEMU inherits (exec.Cmd.ExtraFiles starts at 3).
const (
	tapFD     = 3
	monitorFD = 4
)

// args are QEMU's for the machine; the caller holds mu.
func (m *Machine) args() []string {
	s := m.spec
	args := []string{
		"-name", s.Name, "-uuid", s.UUID,
		"-nodefaults", "-no-user-config", "-display", "none", "-vga", "none",
		"-smp", strconv.Itoa(s.CPUs), "-m", strconv.Itoa(s.MemoryMiB),
		"-smbios", fmt.Sprintf("type=1,uuid=%s,serial=%s,manufacturer=%s,product=%s",
			s.UUID, quote(s.Serial), quote(s.Manufacturer), quote(s.Product)),
		// Without entropy from outside, services wait for it at every boot.
		"-device", "virtio-rng-pci",
		"-netdev", fmt.Sprintf("tap,id=net0,fd=%d", tapFD),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD), "-mon", "chardev=monitor,mode=control",
	}
	for i, d := range m.disks {
		args = append(args, d.args(i, m.Disk(i))...)
	}
	args = append(args, m.rack.accel.args()...)
	return append(args, s.Firmware.args(m.file("sercon"), m.file("nvram.fd"), s.NIC, s.MAC.String())...)
}

// args are QEMU's for the accelerator.
func (a Accel) args() []string {
	if a == AccelKVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// 256 MiB of translated code: with the default of a gigabyte a rack of machines fills the host's memory,
	// and with much less a booting Linux is translated again and again.
	return []string{"-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"}
}

// quote protects a value in QEMU's comma-separated options.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }
