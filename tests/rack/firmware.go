package rack

import (
	"fmt"
	"io/fs"
	"os"
)

// Firmware is what a machine runs when it is switched on.
type Firmware string

// The firmwares.
const (
	// BIOS is SeaBIOS with the iPXE ROM of the network card.
	BIOS Firmware = "bios"
	// UEFI is OVMF with its own PXE stack, which drives the virtio card only. On any other the iPXE in the
	// card's ROM boots, as it does under BIOS.
	UEFI Firmware = "uefi"
	// UEFI6 is OVMF that boots by PXE over IPv6.
	UEFI6 Firmware = "uefi6"
	// UEFIHTTP is OVMF that boots over HTTP only (UEFI specification, section 24.7), IPv4 first, then IPv6.
	UEFIHTTP Firmware = "uefi-http"
)

// OVMF as the Debian package ovmf ships it: the code is shared, the variables are each machine's own NVRAM.
const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// serconPort is SeaBIOS's etc/sercon-port: the I/O port of COM1, little-endian. SeaBIOS then shows what it and
// option ROMs (iPXE) print on the serial console too, which a machine without a display has for its only one.
var serconPort = []byte{0xf8, 0x03}

// check returns an error unless f is one of the firmwares and is installed.
func (f Firmware) check() error {
	switch f {
	case BIOS:
		return need(biosTools)
	case UEFI, UEFI6, UEFIHTTP:
		return need(uefiTools)
	}
	return fmt.Errorf("rack: unknown firmware %q (want bios, uefi, uefi6 or uefi-http): %w", f, fs.ErrInvalid)
}

// install writes the files that the firmware of one machine needs.
func (f Firmware) install(sercon, nvram string) error {
	if f == BIOS {
		return os.WriteFile(sercon, serconPort, 0o600)
	}
	vars, err := os.ReadFile(ovmfVars)
	if err != nil {
		return err
	}
	return os.WriteFile(nvram, vars, 0o600)
}

// args are QEMU's for the firmware and the network card with the given address.
func (f Firmware) args(sercon, nvram string, nic NIC, mac string) []string {
	device := nic.device(mac)
	if f == BIOS {
		return []string{
			"-machine", "pc", "-device", device,
			// Like a server, it tries again when nobody answered.
			"-boot", "order=n,reboot-timeout=2000",
			"-fw_cfg", "name=etc/sercon-port,file=" + sercon,
		}
	}
	device += ",bootindex=0"
	if nic == Virtio {
		device += ",romfile="
	}
	args := []string{
		"-machine", "q35", "-device", device,
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + ovmfCode,
		"-drive", "if=pflash,unit=1,format=raw,file=" + nvram,
	}
	for _, off := range map[Firmware][]string{UEFI: {"IPv6"}, UEFI6: {"IPv4"}, UEFIHTTP: {"IPv4", "IPv6"}}[f] {
		args = append(args, "-fw_cfg", "name=opt/org.tianocore/"+off+"PXESupport,string=n")
	}
	return args
}
