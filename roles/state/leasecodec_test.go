package state

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"muster/dhcpd/lease"
)

func TestLeaseCodec(t *testing.T) {
	l := lease.Lease{MAC: lease.MAC{1, 2, 3, 4, 5, 6}, Addr: netip.MustParseAddr("10.77.0.1"),
		Expires: time.Unix(1, 2).UTC(), Hostname: "web", Declined: true}
	want := []byte{1, 10, 77, 0, 1, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 2, 'w', 'e', 'b'}
	if got := encodeLease(l); !bytes.Equal(got, want) {
		t.Errorf("encoded as % x, want % x: stored leases must stay readable", got, want)
	}
	if got, err := decodeLease(l.MAC[:], want); got != l || err != nil {
		t.Errorf("decoded as %+v, %v; want %+v", got, err, l)
	}
	for what, r := range map[string]Record{
		"short key":     {"", []byte{1}, want},
		"short value":   {"", l.MAC[:], want[:12]},
		"no value":      {"", l.MAC[:], nil},
		"unknown flags": {"", l.MAC[:], append([]byte{3}, want[1:]...)},
	} {
		if l, err := decodeLease(r.Key, r.Value); err == nil {
			t.Errorf("%s: decoded as %+v", what, l)
		}
	}
}

// FuzzLease reads any bytes; what is read is written as the same bytes, and the index keeps it as it is.
func FuzzLease(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6}, []byte{1, 10, 77, 0, 1, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 2, 'w', 'e', 'b'})
	f.Add([]byte{1, 2, 3, 4, 5, 6}, []byte{0, 10, 77, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, b []byte) {
		l, err := decodeLease(key, b)
		if err != nil {
			return
		}
		if got := encodeLease(l); !bytes.Equal(got, b) {
			t.Errorf("% x was read as %+v and written as % x", b, l, got)
		}
		var index lease.Table
		index.Apply([]lease.Lease{l}, nil)
		if got, ok := index.ByMAC(l.MAC); !ok || got != l {
			t.Errorf("the index has %+v, want %+v", got, l)
		}
	})
}
