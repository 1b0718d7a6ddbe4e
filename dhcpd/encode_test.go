package dhcpd

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestEncode(t *testing.T) {
	p := discover(mac(1))
	long := bytes.Repeat([]byte{7}, 300)
	p.Options = dhcpv4.Options{3: {1, 2, 3, 4}, 1: {255, 0, 0, 0}, 51: {0, 0, 1, 0}, 53: {2}, 54: {10, 0, 0, 1}, 82: {1, 1, 9}, 67: long, 175: {}}
	b := encode(p)
	got, err := dhcpv4.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range p.Options {
		if v := got.Options[code]; !bytes.Equal(v, want) {
			t.Errorf("option %d: %v, want %v", code, v, want)
		}
	}
	var order []byte
	for o := b[headerSize:]; o[0] != 255; o = o[2+int(o[1]):] {
		order = append(order, o[0])
	}
	if d := cmp.Diff([]byte{53, 54, 51, 1, 3, 67, 67, 175, 82}, order[:9]); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	if n := len(encode(&dhcpv4.DHCPv4{})); n != bootpSize {
		t.Errorf("least size %d, want %d", n, bootpSize)
	}
}
