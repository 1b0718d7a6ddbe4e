package dhcp6

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

// TestOneMachineOneAddress: whatever the programs of a machine call themselves, they share its address.
func TestOneMachineOneAddress(t *testing.T) {
	b := newBench(t, nil)
	m := mac(1)
	want := b.lease(client{mac: m, duid: duidUUID(1), iaid: 1}) // the ROM
	for name, c := range map[string]client{
		"iPXE":                         {mac: m, duid: duidUUID(1), iaid: 77},
		"another DUID":                 {mac: m, duid: []byte{0, 2, 0, 0, 0xab, 0x11, 5, 6, 7}, iaid: 3},
		"DUID-LL":                      {mac: m, duid: duidLL(m), iaid: 4},
		"DUID-LLT":                     {mac: m, duid: duidLLT(m), iaid: 5},
		"random link-local address":    {duid: duidLLT(m), iaid: 6},
		"random link-local, otherwise": {duid: duidLL(m), iaid: 7},
	} {
		if got := b.lease(c); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n := b.Leases.Len(); n != 1 {
		t.Errorf("%d leases", n)
	}
	if again := newBench(t, nil).lease(client{mac: m, duid: duidUUID(9)}); again != want {
		t.Errorf("with a table that was lost: %s, want %s", again, want)
	}
}

// TestDifferentMachines: what is not one machine shares nothing.
func TestDifferentMachines(t *testing.T) {
	b := newBench(t, nil)
	got := map[netip.Addr]string{}
	for name, c := range map[string]client{
		"a machine":                      {mac: mac(1), duid: duidUUID(1)},
		"its second card":                {mac: mac(2), duid: duidUUID(1)},
		"second card, DUID of the first": {mac: mac(2), duid: duidLL(mac(1))},
		"a clone of that":                {mac: mac(3), duid: duidLL(mac(1))},
		"no MAC":                         {duid: duidUUID(1), iaid: 1},
		"no MAC, another card":           {duid: duidUUID(1), iaid: 2},
		"group address":                  {mac: lease.MAC{1, 0, 0, 0, 0, 1}, duid: duidLL(lease.MAC{3, 0, 0, 0, 0, 3})},
	} {
		a := b.lease(c)
		if other, ok := got[a]; ok {
			t.Errorf("%s and %s share %s", name, other, a)
		}
		got[a] = name
	}
}

func TestDUIDMAC(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": {}, "type only": {0, 3}, "short LL": duidLL(mac(1))[:9], "long LL": append(duidLL(mac(1)), 0),
		"short LLT": duidLLT(mac(1))[:13], "UUID": duidUUID(1), "InfiniBand": append([]byte{0, 3, 0, 32}, make([]byte, 6)...),
	} {
		if m := duidMAC(b); m != (lease.MAC{}) {
			t.Errorf("%s: %s", name, m)
		}
	}
}

// TestRelayedIdentity: the relay next to the client says what it saw, and that counts more than addresses.
func TestRelayedIdentity(t *testing.T) {
	c := client{mac: mac(1), duid: duidUUID(1)}
	inner := relay(c.message(dhcpv6.MessageTypeSolicit), "fd78::1", c.from().WithZone(""),
		dhcpv6.OptClientLinkLayerAddress(ethernet, hw(mac(5))), dhcpv6.OptInterfaceID([]byte("eth7")))
	outer := relay(inner, "::", netip.MustParseAddr("fd78::1"), dhcpv6.OptClientLinkLayerAddress(ethernet, hw(mac(6))),
		dhcpv6.OptInterfaceID([]byte("uplink")))
	r, err := parse(datagram{data: outer.ToBytes(), from: netip.MustParseAddrPort("[fd79::1]:547"), to: ours})
	if err != nil {
		t.Fatal(err)
	}
	if r.Key != lease6.ByMAC(mac(5)) || r.MAC != mac(5) || r.Link != netip.MustParseAddr("fd78::1") || r.Circuit != "eth7" {
		t.Errorf("key %s, MAC %s, link %s, circuit %q", r.Key, r.MAC, r.Link, r.Circuit)
	}
	plain := relay(c.message(dhcpv6.MessageTypeSolicit), "fd78::1", c.from().WithZone(""))
	if r, err = parse(datagram{data: plain.ToBytes(), from: netip.MustParseAddrPort("[fd79::1]:547"), to: ours}); err != nil || r.Key != lease6.ByMAC(mac(1)) {
		t.Errorf("without the option: key %s, %v", r.Key, err)
	}
}
