package dhcpd

import (
	"bytes"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// quirk is firmware that needs another answer than PXE 2.1, RFC 4578 and UEFI have. Whoever adds one says what the
// firmware does, and who has seen it.
type quirk struct {
	name string
	// story is what it does, and source where that is known from.
	story, source string

	// class is what its vendor class (option 60) begins with; empty means any.
	class string
	// archs are the client architectures that it may say; empty means any.
	archs []uint16
	// makers are the MAC prefixes, and boards the beginnings of the UUID (option 97), of which it must have one;
	// both empty means any.
	makers [][3]byte
	boards []string
	// proxy: it differs only where an offer comes from beside another DHCP server.
	proxy bool

	// boots: it is firmware, though it does not say that it is a PXEClient.
	boots bool
	// arch replaces the architecture that it says.
	arch *uint16
	// plain: it gets neither option 43 nor option 60.
	plain bool
	// undirected: it gets no option 43.
	undirected bool
	// vendor replaces option 43.
	vendor []byte
	// unasked are options that it gets even if it does not ask for them.
	unasked []dhcpv4.OptionCode
}

// quirks are all that are known; the first that fits counts. What needs none: x64 firmware that says 9 for its
// architecture is in DefaultBootFiles; firmware without option 97 gets none back (old network cards of Intel,
// github.com/danderson/pixiecore issue 21); one without option 93 says its architecture in option 60; user class iPXE
// is read with and without the length that RFC 3004 wants; every reply has at least 300 bytes (RFC 951, and relays that
// drop less), and an End before the padding (early bootloaders of the Raspberry Pi 4 stop at a Pad option:
// github.com/raspberrypi/rpi-eeprom issue 82).
var quirks = []quirk{
	{
		name: "Raspberry Pi",
		story: "The ROM of the Pi 2 and 3, and the bootloader of the Pi 4 and 5, say that they are an x86 BIOS. They take an answer only " +
			"if its option 43 has a PXE boot menu with the words Raspberry Pi Boot, and load from the server in option 66 rather than " +
			"from siaddr; the ROM asks for bootcode.bin whatever file it is told. UEFI for the Pi has the same MAC and says what it is.",
		source: "raspberrypi.com/documentation, network boot; github.com/raspberrypi/firmware issues 670, 764, 801, 1928; rpi-eeprom issues 87, 182; documentation, DHCP_OPTION97",
		class:  "PXEClient", archs: []uint16{0, archRPi},
		makers: [][3]byte{{0xb8, 0x27, 0xeb}, {0xdc, 0xa6, 0x32}, {0xe4, 0x5f, 0x01}, {0xd8, 0x3a, 0xdd}, {0x2c, 0xcf, 0x67}, {0x28, 0xcd, 0xc1}},
		// The bootloader's option 97 starts with the four characters RPi4 or RPi5, which read as a UUID are these.
		boards: []string{"34695052-", "35695052-"},
		arch:   new(archRPi), vendor: rpiMenu, unasked: []dhcpv4.OptionCode{dhcpv4.OptionTFTPServerName},
	},
	{
		name: "UEFI beside another DHCP server",
		story: "There is firmware that ignores an offer without an address when its option 43 says to boot without asking the boot " +
			"server. Without option 43, all takes the offer for one of Microsoft's BINL: it asks on port 4011, and boots what it is told there.",
		source: "github.com/danderson/netboot, pixiecore/dhcp.go; dnsmasq sends UEFI to port 4011, too (rfc2131.c); " +
			"tianocore/edk2, NetworkPkg/UefiPxeBcDxe/PxeBcDhcp4.c, PxeBcParseDhcp4Packet",
		class: "PXEClient", archs: []uint16{2, 6, 7, 8, 9, 10, 11, 25, 27, 29, 33, 34, 37, 39},
		proxy: true, undirected: true,
	},
	{
		name:   "U-Boot for arm64, of before IANA's numbers",
		story:  "It says 0x100, which nobody registered, for 32 bits and 64; its vendor class tells them apart.",
		source: "u-boot, include/config_distro_defaults.h, where it set CONFIG_BOOTP_PXE_CLIENTARCH",
		class:  "U-Boot.armv8", archs: []uint16{0x100}, arch: new(uint16(22)), boots: true, plain: true,
	},
	{
		name:   "U-Boot for 32-bit ARM, of before IANA's numbers",
		story:  "As the one for arm64.",
		source: "u-boot, include/config_distro_defaults.h, where it set CONFIG_BOOTP_PXE_CLIENTARCH",
		class:  "U-Boot.armv7", archs: []uint16{0x100}, arch: new(uint16(21)), boots: true, plain: true,
	},
	{
		name: "U-Boot",
		story: "U-Boot says that it is U-Boot.armv8, or the like, and not a PXEClient, but has an architecture, and boots the file that it " +
			"is told. It knows neither option 43 nor 60.",
		source: "docs.u-boot.org, CONFIG_BOOTP_VCI_STRING and CONFIG_BOOTP_PXE_CLIENTARCH; github.com/siderolabs/omni-infra-provider-bare-metal issue 48",
		class:  "U-Boot", boots: true, plain: true,
	},
}

// archRPi is the Raspberry Pi's bootloader in IANA's registry; it says 0 where it has no IPv6.
const archRPi uint16 = 41

// rpiMenu is option 43 as dnsmasq makes it for these: PXE_DISCOVERY_CONTROL (6) without broadcast and multicast,
// PXE_MENU_PROMPT (10) at once, and PXE_BOOT_MENU (9) with one item of type 0.
var rpiMenu = slices.Concat([]byte{6, 1, 3, 10, 4, 0}, []byte("PXE"), []byte{9, 20, 0, 0, 17}, []byte("Raspberry Pi Boot"), []byte{255})

// quirk finds the one that r has; nil if it is as the specifications have it.
func (s *Server) quirk(r *Request) *quirk {
	for i := range quirks {
		if q := &quirks[i]; (!q.proxy || s.Proxy && !r.pxe) && q.fits(r) {
			return q
		}
	}
	return nil
}

func (q *quirk) fits(r *Request) bool {
	switch {
	case r.IPXE || !strings.HasPrefix(r.VendorClass, q.class):
		return false
	case len(q.archs) > 0 && !slices.Contains(q.archs, r.Arch()):
		return false
	case len(q.makers) == 0 && len(q.boards) == 0:
		return true
	}
	made := slices.ContainsFunc(q.makers, func(p [3]byte) bool { return bytes.HasPrefix(r.MAC[:], p[:]) })
	return made || slices.ContainsFunc(q.boards, func(p string) bool { return strings.HasPrefix(r.UUID, p) })
}

// isFirmware reports whether a vendor class is that of firmware that is no PXEClient by name.
func isFirmware(class string) bool {
	for i := range quirks {
		if q := &quirks[i]; q.boots && strings.HasPrefix(class, q.class) {
			return true
		}
	}
	return false
}

// asks reports whether the machine gets an option: it wants it, or needs it though it does not say so.
func (w *writer) asks(code dhcpv4.OptionCode) bool {
	return w.req.wants(code) || w.quirk != nil && slices.Contains(w.quirk.unasked, code)
}

// vendorClass is option 60: that the answer is one for firmware of this kind; empty for none.
func (w *writer) vendorClass() string {
	switch {
	case w.file == "" || w.quirk != nil && w.quirk.plain:
	case w.req.PXE, w.direct && w.req.IPXE: // iPXE takes an answer without an address only with it (src/net/udp/dhcp.c)
		return "PXEClient"
	case w.req.HTTP:
		// UEFI 2.10 §24.7.3.1: an answer without it is not for HTTP boot.
		return "HTTPClient"
	}
	return ""
}

// pxeOptions are option 43; nil for none.
func (w *writer) pxeOptions() []byte {
	q := w.quirk
	switch {
	case w.file == "" || !w.req.PXE || q != nil && (q.plain || q.undirected):
		return nil
	case q != nil && q.vendor != nil:
		return q.vendor
	}
	if item := w.req.bootItem(); len(item) > 0 {
		return slices.Concat([]byte{pxeBootItem, byte(len(item))}, item, pxeDiscoveryControl)
	}
	return pxeDiscoveryControl
}

// pxeBootItem is the sub-option of option 43 that names what a machine chose from its menu. The boot server's answer
// repeats it (PXE 2.1 table 2-6).
const pxeBootItem = 71

// bootItem is what the machine chose; nil where it asks nothing of the kind.
func (r *Request) bootItem() []byte {
	for b := r.get(dhcpv4.OptionVendorSpecificInformation); len(b) >= 2 && b[0] != 255; {
		if b[0] == 0 { // Pad
			b = b[1:]
			continue
		}
		n := 2 + int(b[1])
		if len(b) < n {
			break
		}
		if b[0] == pxeBootItem {
			return b[2:n]
		}
		b = b[n:]
	}
	return nil
}
