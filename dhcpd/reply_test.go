package dhcpd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// What real clients send, as their programs do it.
var (
	romParams = option(dhcpv4.OptionParameterRequestList, 1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43,
		50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135)
	ipxeParams = option(dhcpv4.OptionParameterRequestList, 1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130,
		131, 132, 133, 134, 135, 175, 203)
	uuid     = option(dhcpv4.OptionClientMachineIdentifier, 0, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 1)
	biosROM  = mods(class("PXEClient:Arch:00000:UNDI:002001"), arch(0), uuid, romParams, size(1260), option(dhcpv4.OptionClientNetworkInterfaceIdentifier, 1, 2, 1))
	uefiX64  = mods(class("PXEClient:Arch:00007:UNDI:003016"), arch(7), uuid, romParams, size(1472), option(dhcpv4.OptionClientNetworkInterfaceIdentifier, 1, 3, 16))
	uefiHTTP = mods(class("HTTPClient:Arch:00016:UNDI:003016"), arch(16), uuid, romParams, size(1472))
	ipxe     = mods(class("PXEClient:Arch:00000:UNDI:002001"), arch(0), uuid, ipxeParams, size(1472),
		option(dhcpv4.OptionUserClassInformation, []byte("iPXE")...), option(dhcpv4.OptionEtherboot, 0xb1, 5, 1, 0x10, 0xec, 0x81, 0x39))
	// snponly is iPXE once OVMF has loaded it: it names itself as in a ROM.
	snponly = mods(ipxe, class("PXEClient:Arch:00007:UNDI:003010"), arch(7), option(dhcpv4.OptionClientNetworkInterfaceIdentifier, 1, 3, 10),
		option(dhcpv4.OptionClientIdentifier, 1, 0x52, 0x54, 0, 0, 0, 1))
	dhclient = mods(option(dhcpv4.OptionParameterRequestList, 1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42), hostName("debian"),
		option(dhcpv4.OptionClientIdentifier, 255, 0, 0, 0, 1, 0, 2))
)

func mods(m ...dhcpv4.Modifier) dhcpv4.Modifier {
	return func(p *dhcpv4.DHCPv4) {
		for _, f := range m {
			f(p)
		}
	}
}
func class(s string) dhcpv4.Modifier    { return option(dhcpv4.OptionClassIdentifier, []byte(s)...) }
func hostName(s string) dhcpv4.Modifier { return option(dhcpv4.OptionHostName, []byte(s)...) }
func arch(n uint16) dhcpv4.Modifier {
	return option(dhcpv4.OptionClientSystemArchitectureType, byte(n>>8), byte(n))
}
func size(n uint16) dhcpv4.Modifier {
	return option(dhcpv4.OptionMaximumDHCPMessageSize, byte(n>>8), byte(n))
}
func option82() dhcpv4.Modifier {
	return option(dhcpv4.OptionRelayAgentInformation, append([]byte{1, 5}, "ge-07\x02\x04rack"...)...)
}

func TestRoute(t *testing.T) {
	a := ip("10.77.0.100")
	for _, tt := range []struct {
		name string
		in   *dhcpv4.DHCPv4
		to   string
		raw  bool
	}{
		{"new", discover(mac(1)), "10.77.0.100:68", true},
		{"new, broadcast flag", discover(mac(1), dhcpv4.WithBroadcast(true)), "255.255.255.255:68", false},
		{"relay", discover(mac(1), relayedBy(ip("10.77.0.9"))), "10.77.0.9:67", false},
		{"relay, broadcast flag", discover(mac(1), relayedBy(ip("10.77.0.9")), dhcpv4.WithBroadcast(true)), "10.77.0.9:67", false},
		{"renewing", renewing(mac(1), a), "10.77.0.100:68", false},
		{"rebinding", rebinding(mac(1), a), "10.77.0.100:68", false},
		{"refused", initReboot(mac(1), ip("10.1.1.1")), "255.255.255.255:68", false},
		{"refused while rebinding", rebinding(mac(1), ip("10.1.1.1")), "255.255.255.255:68", false},
		{"refused by relay", initReboot(mac(1), ip("10.1.1.1"), relayedBy(ip("10.77.0.9"))), "10.77.0.9:67", false},
		{"inform", inform(mac(1), ip("10.77.0.7")), "10.77.0.7:68", false},
		{"inform by relay", inform(mac(1), ip("10.77.0.7"), relayedBy(ip("10.77.0.9"))), "10.77.0.7:68", false},
		// Not to an address that is not the machine's, which may be anybody's.
		{"discover with ciaddr", discover(mac(1), dhcpv4.WithClientIP(ip("10.77.0.7").AsSlice())), "10.77.0.100:68", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.one(tt.in)
			o := f.sent[0]
			if o.to != netip.MustParseAddrPort(tt.to) || (o.raw != lease.MAC{}) != tt.raw {
				t.Errorf("to %s, raw %s, want %s, raw %v", o.to, o.raw, tt.to, tt.raw)
			}
			if tt.raw && o.raw != mac(1) {
				t.Errorf("raw to %s, want the client", o.raw)
			}
		})
	}
}

func TestMessageSize(t *testing.T) {
	f := newFixture(t)
	f.Subnets[0].Domain = strings.Repeat("long.", 40) + "example"
	f.ScriptURL = func(*Request) string { return "http://10.77.0.1/" + strings.Repeat("x", 150) }
	for _, tt := range []struct {
		name   string
		mods   dhcpv4.Modifier
		limit  int
		domain bool
	}{
		{"default", ipxe, 1472 - ipUDPHeader, true},
		{"least", mods(ipxe, dhcpv4.WithoutOption(dhcpv4.OptionMaximumDHCPMessageSize)), minMessage - ipUDPHeader, false},
		{"illegally small", mods(ipxe, size(100)), minMessage - ipUDPHeader, false},
	} {
		p := f.one(discover(mac(1), tt.mods))
		if n := len(f.sent[0].data); n > tt.limit {
			t.Errorf("%s: %d bytes, want at most %d", tt.name, n, tt.limit)
		}
		if got := p.DomainName() != ""; got != tt.domain {
			t.Errorf("%s: domain told: %v, want %v", tt.name, got, tt.domain)
		}
		if url := string(p.Options.Get(dhcpv4.OptionBootfileName)); len(url) != 167 || p.BootFileName != "" {
			t.Errorf("%s: the URL is cut short: %q in the field, %q as option", tt.name, p.BootFileName, url)
		}
	}
	f.ScriptURL = func(*Request) string { return strings.Repeat("x", 600) }
	f.none(discover(mac(1), ipxe, size(576)), dropTooLarge)
}

// TestOnlyWhatWasAsked: nothing that is not in the parameter request list, but for what the RFCs demand.
func TestOnlyWhatWasAsked(t *testing.T) {
	f := newFixture(t)
	p := f.one(discover(mac(1), option(dhcpv4.OptionParameterRequestList, 6)))
	for code := range p.Options {
		switch code {
		case 53, 54, 51, 6:
		default:
			t.Errorf("option %d was not asked for", code)
		}
	}
}
