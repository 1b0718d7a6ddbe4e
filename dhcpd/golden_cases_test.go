package dhcpd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// GoldenCase is a talk of one machine with the server, as Tap saw it.
type GoldenCase struct {
	Name    string
	Packets []Packet
}

// goldenCase is a packet and how it comes in; before it come others.
type goldenCase struct {
	name   string
	set    func(*Server)
	host   Host
	before []*dhcpv4.DHCPv4
	in     *dhcpv4.DHCPv4
	pxe    bool   // on port 4011
	from   string // empty means 0.0.0.0:68
	to     string // empty means everybody
}

// GoldenCases plays all of them.
func GoldenCases(t *testing.T) (out []GoldenCase) {
	for _, c := range slices.Concat(stateCases(), firmwareCases(), archCases(), proxyCases(), rfcCases()) {
		out = append(out, GoldenCase{c.name, c.play(t)})
	}
	return out
}

func (c *goldenCase) play(t *testing.T) (out []Packet) {
	f := newFixture(t)
	f.Policy = fixedHosts{}
	if c.host != (Host{}) {
		f.Policy = fixedHosts{lease.MAC(c.in.ClientHWAddr): c.host}
	}
	if c.set != nil {
		c.set(f.Server)
	}
	f.Tap = func(p Packet) { p.Data = slices.Clone(p.Data); out = append(out, p) }
	give := func(p *dhcpv4.DHCPv4, from, to string) {
		d := datagram{data: p.ToBytes(), from: netip.MustParseAddrPort(from), to: netip.MustParseAddr(to)}
		f.batch.run(context.Background(), f.Server, f, []datagram{d})
	}
	for _, p := range c.before {
		give(p, "0.0.0.0:68", "255.255.255.255")
	}
	from, to := c.from, c.to
	if from == "" {
		from = "0.0.0.0:68"
	}
	if to == "" {
		to = "255.255.255.255"
	}
	f.pxe = c.pxe
	give(c.in, from, to)
	return out
}

var slot = Host{Address: ip("10.77.0.20"), Hostname: "web-01"}

// stateCases are those of RFC 2131 §4.3, with and without a relay.
func stateCases() []goldenCase {
	m, a := mac(1), ip("10.77.0.100")
	relay, far := relayedBy(ip("10.78.0.1")), ip("10.78.0.100")
	had := []*dhcpv4.DHCPv4{discover(m, dhclient), selecting(m, a, dhclient)}
	const viaRelay, atServer = "10.78.0.1:67", "10.77.0.1"
	return []goldenCase{
		{name: "os-discover", host: slot, in: discover(m, dhclient)},
		{name: "os-discover-no-list", host: slot, in: discover(m)},
		{name: "os-discover-broadcast", in: discover(m, dhclient, dhcpv4.WithBroadcast(true))},
		{name: "os-select", in: selecting(m, a, dhclient)},
		{name: "os-select-other", in: message(m, dhcpv4.MessageTypeRequest, dhclient, askFor(a), chose(other))},
		{name: "os-reboot", before: had, in: initReboot(m, a, dhclient)},
		{name: "os-reboot-nak", host: slot, in: initReboot(m, a, dhclient)},
		{name: "os-renew", before: had, in: renewing(m, a, dhclient), from: "10.77.0.100:68", to: atServer},
		{name: "os-rebind", before: had, in: renewing(m, a, dhclient), from: "10.77.0.100:68"},
		{name: "os-rebind-nak", in: renewing(m, ip("192.0.2.1"), dhclient), from: "192.0.2.1:68"},
		{name: "os-inform", host: slot, in: inform(m, slot.Address, dhclient), from: "10.77.0.20:68", to: atServer},
		{name: "os-decline", before: had, in: decline(m, a)},
		{name: "os-release", before: had, in: release(m, a), from: "10.77.0.100:68", to: atServer},
		{name: "os-rapid-commit", set: func(s *Server) { s.Subnets[0].RapidCommit = true }, in: discover(m, dhclient, option(dhcpv4.OptionRapidCommit))},
		{name: "bootp", host: slot, in: bootp(m)},
		{name: "bootp-no-address", in: bootp(m)},
		{name: "os-full", set: func(s *Server) { s.Subnets[0].Range = Range{} }, in: discover(m, dhclient)},
		{name: "relay-discover", in: discover(m, uefiX64, relay, option82()), from: viaRelay, to: atServer},
		{name: "relay-select", in: selecting(m, far, dhclient, relay, option82()), from: viaRelay, to: atServer},
		{name: "relay-nak", in: initReboot(m, a, dhclient, relay, option82()), from: viaRelay, to: atServer},
		{name: "relay-unknown-network", in: discover(m, dhclient, relayedBy(ip("192.0.2.1"))), from: "192.0.2.1:67", to: atServer},
	}
}

// firmwareCases are what boots, where this server gives the addresses.
func firmwareCases() []goldenCase {
	m := mac(1)
	rpi := lease.MAC{0xb8, 0x27, 0xeb, 0x2f, 0xaa, 0xeb}
	no77 := dhcpv4.WithoutOption(dhcpv4.OptionUserClassInformation)
	no175 := dhcpv4.WithoutOption(dhcpv4.OptionEtherboot)
	uboot := mods(class("U-Boot.armv8"), arch(22), option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 12, 17))
	return []goldenCase{
		{name: "bios-discover", in: discover(m, biosROM, dhcpv4.WithBroadcast(true))},
		{name: "bios-select", host: slot, in: selecting(m, slot.Address, biosROM)},
		{name: "bios-no-uuid", in: discover(m, biosROM, dhcpv4.WithoutOption(dhcpv4.OptionClientMachineIdentifier))},
		{name: "bios-no-boot", host: Host{Address: slot.Address, Hostname: "printer", NoBoot: true}, in: discover(m, biosROM)},
		{name: "bios-4011", in: message(m, dhcpv4.MessageTypeRequest, biosROM, dhcpv4.WithClientIP(slot.Address.AsSlice()),
			option(dhcpv4.OptionVendorSpecificInformation, 71, 4, 0x80, 0, 0, 0, 255)), pxe: true, from: "10.77.0.20:68", to: "10.77.0.1"},
		{name: "uefi-discover", host: slot, in: discover(m, uefiX64)},
		{name: "uefi-bootfile", host: Host{BootFile: "special.efi"}, in: discover(m, uefiX64)},
		{name: "uefi-no-file", in: discover(m, uefiX64, arch(3))},
		{name: "http-discover", host: slot, in: discover(m, uefiHTTP)},
		{name: "http-select", host: slot, in: selecting(m, slot.Address, uefiHTTP)},
		{name: "ipxe-discover", host: slot, in: discover(m, ipxe)},
		{name: "ipxe-select", host: slot, in: selecting(m, slot.Address, ipxe)},
		{name: "ipxe-77-only", in: discover(m, ipxe, no175)},
		{name: "ipxe-77-counted", in: discover(m, ipxe, no175, option(dhcpv4.OptionUserClassInformation, []byte("\x04iPXE")...))}, // RFC 3004
		{name: "ipxe-175-only", in: discover(m, ipxe, no77)},
		{name: "ipxe-snponly", host: slot, in: discover(m, snponly)},
		{name: "rpi-discover", in: discover(rpi, rpiROM)},
		{name: "rpi-uefi", in: discover(rpi, uefiX64, arch(11), class("PXEClient:Arch:00011:UNDI:003000"))},
		{name: "uboot-discover", in: discover(m, uboot)},
		{name: "uboot-old", in: discover(m, uboot, arch(0x100))},
	}
}

// archCases are all architectures that there is a file for.
func archCases() (out []goldenCase) {
	for _, b := range DefaultBootFiles {
		kind, client := "PXEClient", uefiX64
		if b.HTTP {
			kind, client = "HTTPClient", uefiHTTP
		}
		vendor := fmt.Sprintf("%s:Arch:%05d:UNDI:003016", kind, b.Arch)
		if b.Arch == 21 || b.Arch == 22 {
			vendor = map[uint16]string{21: "U-Boot.armv7", 22: "U-Boot.armv8"}[b.Arch]
		}
		out = append(out, goldenCase{name: fmt.Sprintf("arch-%02d", b.Arch), in: discover(mac(1), client, arch(b.Arch), class(vendor))})
	}
	return out
}

// proxyCases are those beside another DHCP server.
func proxyCases() (out []goldenCase) {
	m, a := mac(1), ip("10.77.0.140")
	rpi := lease.MAC{0xb8, 0x27, 0xeb, 0x2f, 0xaa, 0xeb}
	has := dhcpv4.WithClientIP(a.AsSlice())
	request := func(mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 { return message(m, dhcpv4.MessageTypeRequest, mods...) }
	out = []goldenCase{
		{name: "proxy-bios-discover", in: discover(m, biosROM)},
		{name: "proxy-uefi-discover", in: discover(m, uefiX64)},
		{name: "proxy-uefi-select-other", in: request(uefiX64, askFor(a), chose(other))},
		{name: "proxy-uefi-4011", in: request(uefiX64, has), pxe: true, from: "10.77.0.140:68", to: "10.77.0.1"},
		{name: "proxy-uefi-4011-broadcast", in: request(uefiX64, has), pxe: true, from: "10.77.0.140:4011"},
		{name: "proxy-uefi-4011-inform", in: inform(m, a, uefiX64), pxe: true, from: "10.77.0.140:2070", to: "10.77.0.1"},
		{name: "proxy-http-discover", in: discover(m, uefiHTTP)},
		{name: "proxy-ipxe-discover", in: discover(m, ipxe)},
		{name: "proxy-ipxe-4011", in: request(ipxe, has), pxe: true, from: "10.77.0.140:68", to: "10.77.0.1"},
		{name: "proxy-rpi-discover", in: discover(rpi, rpiROM)},
		{name: "proxy-relay-discover", in: discover(m, biosROM, relayedBy(ip("10.78.0.1")), option82()), from: "10.78.0.1:67", to: "10.77.0.1"},
		{name: "proxy-os-discover", in: discover(m, dhclient)},
		{name: "proxy-no-boot", host: Host{NoBoot: true}, in: discover(m, biosROM)},
	}
	for i := range out {
		out[i].set = func(s *Server) { s.Proxy = true }
	}
	return out
}
