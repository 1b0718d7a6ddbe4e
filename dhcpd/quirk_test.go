package dhcpd

import (
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// TestQuirks: each row says why it is there, and is the one for its firmware.
func TestQuirks(t *testing.T) {
	for _, q := range quirks {
		if q.name == "" || !strings.HasSuffix(q.story, ".") || q.source == "" || q.class == "" {
			t.Errorf("%q lacks its story, source or class", q.name)
		}
	}
	pi := func(last byte) lease.MAC { return lease.MAC{0xb8, 0x27, 0xeb, 0, 0, last} }
	for _, tt := range []struct {
		name  string
		r     Request
		proxy bool
		want  string
	}{
		{"BIOS", Request{VendorClass: "PXEClient:Arch:00000:UNDI:002001", MAC: mac(1)}, true, ""},
		{"Pi 3", Request{VendorClass: "PXEClient:Arch:00000:UNDI:002001", MAC: pi(1)}, false, "Raspberry Pi"},
		{"Pi 4 with another's MAC", Request{VendorClass: "PXEClient:Arch:00000:UNDI:002001", UUID: "34695052-1131-c030-0000-000000000001"}, false, "Raspberry Pi"},
		{"UEFI of a Pi", Request{VendorClass: "PXEClient:Arch:00011:UNDI:003000", Archs: []uint16{11}, MAC: pi(1)}, false, ""},
		{"UEFI of a Pi, proxy", Request{VendorClass: "PXEClient:Arch:00011:UNDI:003000", Archs: []uint16{11}, MAC: pi(1)}, true, "UEFI beside another DHCP server"},
		{"UEFI on port 4011", Request{VendorClass: "PXEClient", Archs: []uint16{7}, pxe: true}, true, ""},
		{"iPXE on UEFI", Request{VendorClass: "PXEClient", Archs: []uint16{7}, IPXE: true}, true, ""},
		{"U-Boot", Request{VendorClass: "U-Boot.armv8", Archs: []uint16{22}}, false, "U-Boot"},
		{"old U-Boot", Request{VendorClass: "U-Boot.armv8", Archs: []uint16{0x100}}, false, "U-Boot for arm64, of before IANA's numbers"},
		{"old U-Boot, 32 bits", Request{VendorClass: "U-Boot.armv7", Archs: []uint16{0x100}}, false, "U-Boot for 32-bit ARM, of before IANA's numbers"},
		{"Linux on a Pi", Request{VendorClass: "dhcpcd-9.4.1:Linux-6.1.21-v8+:aarch64:BCM2835", MAC: pi(1)}, false, ""},
	} {
		got := ""
		if q := (&Server{Proxy: tt.proxy}).quirk(&tt.r); q != nil {
			got = q.name
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestRaspberryPi: what its ROM looks for in an answer.
func TestRaspberryPi(t *testing.T) {
	m := lease.MAC{0xb8, 0x27, 0xeb, 0x2f, 0xaa, 0xeb}
	for _, proxy := range []bool{false, true} {
		f := newFixture(t)
		f.Proxy = proxy
		p := f.one(discover(m, rpiROM))
		vendor := string(p.Options.Get(dhcpv4.OptionVendorSpecificInformation))
		if !strings.Contains(vendor, "Raspberry Pi Boot") || len(vendor) != 32 || p.BootFileName != "bootcode.bin" || p.TFTPServerName() != server.String() {
			t.Errorf("proxy %v: option 43 %q, file %q, option 66 %q", proxy, vendor, p.BootFileName, p.TFTPServerName())
		}
	}
}

// rpiROM asks as the ROM of a Pi 3 does (github.com/raspberrypi/firmware issue 1265).
var rpiROM = mods(class("PXEClient:Arch:00000:UNDI:002001"), arch(0), option(dhcpv4.OptionClientNetworkInterfaceIdentifier, 1, 2, 1),
	option(dhcpv4.OptionParameterRequestList, 43, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135, 1, 3),
	option(dhcpv4.OptionClientMachineIdentifier, 0, 235, 170, 47, 178, 235, 170, 47, 178, 235, 170, 47, 178, 235, 170, 47, 178))

// TestUBoot: it is firmware by its class, and loads what its architecture has.
func TestUBoot(t *testing.T) {
	f := newFixture(t)
	p := f.one(discover(mac(1), class("U-Boot.armv8"), arch(22), option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 12, 17)))
	if p.BootFileName != "snponly-arm64.efi" || addr(p.ServerIPAddr) != server || p.Options.Has(dhcpv4.OptionVendorSpecificInformation) || p.Options.Has(dhcpv4.OptionClassIdentifier) {
		t.Errorf("got %s", p.Summary())
	}
}

// TestUBootWithoutArchitecture: it may be on anything, and is no x86 BIOS.
func TestUBootWithoutArchitecture(t *testing.T) {
	f := newFixture(t)
	f.Policy = fixedHosts{mac(2): {BootFile: "u-boot.img"}}
	for m, want := range map[int]string{1: "", 2: "u-boot.img"} {
		if p := f.one(discover(mac(m), class("U-Boot.armv7"))); p.BootFileName != want {
			t.Errorf("machine %d is told to load %q, want %q", m, p.BootFileName, want)
		}
	}
}
