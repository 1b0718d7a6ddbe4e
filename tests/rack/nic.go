package rack

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// NIC is the model of a machine's network card.
type NIC string

// The models, each with the iPXE ROM that the Debian package ipxe-qemu has for it. (QEMU's other cards, such as
// igb from version 8.0 on, have none there and boot nothing.)
const (
	// Virtio is the card that virtual machines have; every kernel drives it. The default.
	Virtio NIC = "virtio"
	// E1000E is Intel's 82574L, a server's card; the cloud kernel has no driver for it.
	E1000E NIC = "e1000e"
	// E1000 is Intel's 82540EM; the cloud kernel has no driver for it.
	E1000 NIC = "e1000"
	// VMXNet3 is VMware's.
	VMXNet3 NIC = "vmxnet3"
	// RTL8139 is Realtek's of 100 Mbit/s; the cloud kernel has no driver for it.
	RTL8139 NIC = "rtl8139"
)

// nics are all models.
var nics = []NIC{Virtio, E1000E, E1000, VMXNet3, RTL8139}

// check returns an error unless n is one of the models, its ROM is installed and f boots from it.
func (n NIC) check(f Firmware) error {
	switch {
	case !slices.Contains(nics, n):
		return fmt.Errorf("rack: unknown network card %q (want one of %s): %w", n, strings.Trim(fmt.Sprint(nics), "[]"), fs.ErrInvalid)
	case f == UEFIHTTP && n != Virtio:
		// The ROM's iPXE would boot, by DHCP and TFTP, before OVMF gets to HTTP.
		return fmt.Errorf("rack: %s boots over HTTP from the card %s only, not from %s: %w", f, Virtio, n, fs.ErrInvalid)
	case f != BIOS && n == Virtio:
		return nil // OVMF's own driver
	}
	// It holds iPXE for BIOS and for UEFI; QEMU finds it by itself.
	return need([]tool{{"/usr/lib/ipxe/qemu/efi-" + string(n) + ".rom", "ipxe-qemu"}})
}

// device is QEMU's for the card with the given address.
func (n NIC) device(mac string) string {
	model := string(n)
	if n == Virtio {
		model = "virtio-net-pci"
	}
	return model + ",netdev=net0,mac=" + mac
}
