package dhcpd

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"muster/dhcpd/lease"
)

// TestTap: every packet is shown once, in the order of the wire, and what got no answer says why.
func TestTap(t *testing.T) {
	f := newFixture(t)
	var got []string
	var data [][]byte
	f.Tap = func(p Packet) {
		way := "out"
		if p.In {
			way = "in"
		}
		m, err := dhcpv4.FromBytes(p.Data)
		kind := "garbage"
		if err == nil {
			kind = m.MessageType().String()
		}
		data = append(data, slices.Clone(p.Data))
		got = append(got, fmt.Sprintf("%s %s %s %s %s→%s %s", p.Interface, way, p.MAC, kind, p.From, p.To, p.Drop))
	}
	a := f.offered(mac(1))
	from := netip.MustParseAddrPort("0.0.0.0:68")
	elsewhere := selecting(mac(2), ip("10.77.0.9"))
	elsewhere.UpdateOption(dhcpv4.OptServerIdentifier([]byte{10, 77, 0, 66}))
	var in []datagram
	for _, p := range [][]byte{selecting(mac(1), a).ToBytes(), {1, 2, 3}, elsewhere.ToBytes(), initReboot(mac(3), ip("192.168.0.1")).ToBytes(), discover(mac(4)).ToBytes()[:150]} {
		in = append(in, datagram{data: p, to: limitedBroadcast, from: from})
	}
	in = append(in, datagram{data: in[0].data, to: limitedBroadcast, from: from, truncated: true})
	got, data, f.sent = nil, nil, nil
	f.batch.run(context.Background(), f.Server, f, in)
	m := func(n int) lease.MAC { return mac(n) }
	want := []string{
		fmt.Sprintf("eth1 in %s garbage 0.0.0.0:68→255.255.255.255:67 malformed", lease.MAC{}),
		fmt.Sprintf("eth1 in %s garbage 0.0.0.0:68→255.255.255.255:67 malformed", m(4)),
		fmt.Sprintf("eth1 in %s REQUEST 0.0.0.0:68→255.255.255.255:67 truncated", m(1)),
		fmt.Sprintf("eth1 in %s REQUEST 0.0.0.0:68→255.255.255.255:67 other-server", m(2)),
		fmt.Sprintf("eth1 in %s REQUEST 0.0.0.0:68→255.255.255.255:67 ", m(3)),
		fmt.Sprintf("eth1 out %s NAK 10.77.0.1:67→255.255.255.255:68 ", m(3)),
		fmt.Sprintf("eth1 in %s REQUEST 0.0.0.0:68→255.255.255.255:67 ", m(1)),
		fmt.Sprintf("eth1 out %s ACK 10.77.0.1:67→%s:68 ", m(1), a),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", lines(got), lines(want))
	}
	if last := f.sent[len(f.sent)-1].data; len(data) == 0 || !bytes.Equal(data[len(data)-1], last) {
		t.Error("the tap saw another ACK than the machine")
	}
}

func lines(s []string) (out string) {
	for _, l := range s {
		out += l + "\n"
	}
	return out
}
