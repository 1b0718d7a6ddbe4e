package state

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"

	"muster/dhcpd/lease"
)

// A lease is stored under its MAC in 13 bytes and the hostname:
//
//	flags    1  bit 0: declined
//	address  4  IPv4
//	expires  8  Unix time in nanoseconds, signed, big-endian; the least number is no time
//	hostname    the rest
//
// One encoding per lease, and every byte means something: what is read back is what was written.
const (
	leaseHead     = 1 + 4 + 8
	leaseDeclined = 1 << 0
)

func encodeLease(l lease.Lease) []byte {
	b := make([]byte, 1, leaseHead+len(l.Hostname))
	if l.Declined {
		b[0] |= leaseDeclined
	}
	a := l.Addr.Unmap().As4()
	b = append(b, a[:]...)
	expires := int64(math.MinInt64)
	if !l.Expires.IsZero() {
		expires = l.Expires.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	return append(b, l.Hostname...)
}

func decodeLease(key, b []byte) (l lease.Lease, err error) {
	switch {
	case len(key) != len(l.MAC):
		return l, errors.New("the key is not a MAC address")
	case len(b) < leaseHead:
		return l, errors.New("the record is too short")
	case b[0]&^leaseDeclined != 0:
		return l, errors.New("the record has unknown flags")
	}
	l.MAC = lease.MAC(key)
	l.Declined = b[0]&leaseDeclined != 0
	l.Addr = netip.AddrFrom4([4]byte(b[1:5]))
	if n := int64(binary.BigEndian.Uint64(b[5:leaseHead])); n != math.MinInt64 {
		l.Expires = time.Unix(0, n).UTC()
	}
	l.Hostname = string(b[leaseHead:])
	return l, nil
}
