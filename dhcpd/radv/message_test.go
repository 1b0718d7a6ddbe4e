package radv

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/ipv6"

	"muster/dhcpd/lease"
)

// solicits is what iPXE sends, as it was on the wire.
const solicits = "85 00 2f a7 00 00 00 00  01 01 52 54 00 4d 00 01"

var (
	machine     = lease.MAC{0x52, 0x54, 0, 0x4d, 0, 1}
	machineAddr = netip.MustParseAddr("fe80::5054:ff:fe4d:1")
)

func octets(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestAdvertisement holds the answer byte for byte: whatever is set in it changes something for a host.
func TestAdvertisement(t *testing.T) {
	want := octets("86 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00")
	if !bytes.Equal(advertisement, want) {
		t.Errorf("got % x, want % x", advertisement, want)
	}
	if typeAdvertisement != ipv6.ICMPTypeRouterAdvertisement || typeSolicitation != ipv6.ICMPTypeRouterSolicitation {
		t.Error("the types are not those of the registry")
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		data string
		from string
		hops int
		mac  lease.MAC
		err  error
	}{
		{"iPXE", solicits, "fe80::1", 255, machine, nil},
		{"without options", "85 00 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, nil},
		{"unknown option first", "85 00 00 00 00 00 00 00  0e 01 01 02 03 04 05 06  01 01 52 54 00 4d 00 01", "fe80::1", 255, machine, nil},
		{"address of another kind of link", "85 00 00 00 00 00 00 00  01 02 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e", "fe80::1", 255, lease.MAC{}, nil},
		{"from behind a router", solicits, "fe80::1", 254, lease.MAC{}, dropMalformed},
		{"short", "85 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"code", "85 01 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"type", "86 00 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"option without length", "85 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"option too long", "85 00 00 00 00 00 00 00  01 02 00 00 00 00 00 00", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"rest", solicits + "01", "fe80::1", 255, lease.MAC{}, dropMalformed},
		{"unspecified", "85 00 00 00 00 00 00 00", "::", 255, lease.MAC{}, dropSource},
		{"global", solicits, "2001:db8::1", 255, lease.MAC{}, dropSource},
		{"IPv4", solicits, "169.254.0.1", 255, lease.MAC{}, dropSource},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := solicitation{data: octets(tt.data), from: netip.MustParseAddr(tt.from), hopLimit: tt.hops}
			mac, err := s.parse()
			if err != tt.err || err == nil && mac != tt.mac {
				t.Errorf("got %s, %v, want %s, %v", mac, err, tt.mac, tt.err)
			}
		})
	}
}

// FuzzParse: no panic, and what is accepted is a solicitation whose options put together are its length.
func FuzzParse(f *testing.F) {
	f.Add(octets(solicits), machineAddr.AsSlice(), 255)
	f.Add(octets(solicits), netip.IPv6Unspecified().AsSlice(), 255)
	f.Add(octets("85 00 00 00 00 00 00 00  01 00"), machineAddr.AsSlice(), 255)
	f.Fuzz(func(t *testing.T, data, from []byte, hops int) {
		s := solicitation{data: data, hopLimit: hops}
		s.from, _ = netip.AddrFromSlice(from)
		mac, err := s.parse()
		if err != nil {
			return
		}
		if hops != 255 || len(data)%8 != 0 || data[0] != 133 || data[1] != 0 || from[0] != 0xfe || from[1]&0xc0 != 0x80 {
			t.Errorf("accepted % x from %s", data, s.from)
		}
		if mac != (lease.MAC{}) && !bytes.Contains(data, append([]byte{1, 1}, mac[:]...)) {
			t.Errorf("nobody said %s in % x", mac, data)
		}
	})
}
