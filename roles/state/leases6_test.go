package state

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"muster/dhcpd/lease"
	"muster/dhcpd/lease6"
)

var stored6 = []byte{3, 0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 2}

func TestLease6Codec(t *testing.T) {
	l := lease6.Lease{Key: lease6.ByMAC(lease.MAC{1, 2, 3, 4, 5, 6}), Addr: netip.MustParseAddr("fd77::9"),
		Expires: time.Unix(1, 2).UTC(), Declined: true, Unknown: true}
	if got := encodeLease6(l); !bytes.Equal(got, stored6) {
		t.Errorf("encoded as % x, want % x: stored leases must stay readable", got, stored6)
	}
	if got, err := decodeLease6([]byte(l.Key), stored6); got != l || err != nil {
		t.Errorf("decoded as %+v, %v; want %+v", got, err, l)
	}
}

// FuzzLease6 reads any bytes; what is read is written as the same bytes, and the index keeps it as it is.
func FuzzLease6(f *testing.F) {
	f.Add([]byte("m123456"), stored6)
	f.Add([]byte("m123456"), stored6[:12])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, b []byte) {
		l, err := decodeLease6(key, b)
		if err != nil {
			return
		}
		if got := encodeLease6(l); !bytes.Equal(got, b) {
			t.Errorf("% x was read as %+v and written as % x", b, l, got)
		}
		var index lease6.Table
		index.Apply([]lease6.Lease{l}, nil)
		if got, ok := index.ByKey(l.Key); !ok || got != l {
			t.Errorf("the index has %+v, want %+v", got, l)
		}
	})
}
