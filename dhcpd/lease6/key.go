package lease6

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"muster/dhcpd/lease"
)

// Key names the holder of a lease; it is comparable, and stored as its bytes. The zero Key names nobody.
type Key string

// The first byte of a key says what the rest is.
const (
	kindMAC        = 'm' // 6 bytes: the MAC
	kindClient     = 'c' // 4 bytes: the IAID; 6 bytes: the MAC of the link, or zero; the rest: the DUID
	kindQuarantine = 'q' // 16 bytes: the address
)

// The lengths of a DUID, its type included (RFC 8415 §11.1).
const (
	minDUID = 3
	maxDUID = 130
)

const clientHead = 1 + 4 + 6

// ByMAC is the key of a machine whose MAC was told.
func ByMAC(m lease.MAC) Key { return Key(append([]byte{kindMAC}, m[:]...)) }

// ByClient is the key of a client as RFC 8415 §4.2 has it, by its DUID and IAID, and by the MAC of its link as
// well if that is known; zero if not.
func ByClient(duid []byte, iaid [4]byte, link lease.MAC) Key {
	b := make([]byte, 0, clientHead+len(duid))
	b = append(append(append(append(b, kindClient), iaid[:]...), link[:]...), duid...)
	return Key(b)
}

// Quarantine is the key of the lease that keeps a declined address from everybody.
func Quarantine(a netip.Addr) Key {
	b := a.As16()
	return Key(append([]byte{kindQuarantine}, b[:]...))
}

// ParseKey reads the bytes of a key; false if they are none.
func ParseKey(b []byte) (Key, bool) {
	if len(b) == 0 {
		return "", false
	}
	switch b[0] {
	case kindMAC:
		return Key(b), len(b) == 1+6
	case kindClient:
		return Key(b), len(b) >= clientHead+minDUID && len(b) <= clientHead+maxDUID
	case kindQuarantine:
		return Key(b), len(b) == 1+16
	}
	return "", false
}

// MAC is the machine's, if it is that which names it.
func (k Key) MAC() (m lease.MAC, ok bool) {
	if len(k) != 1+6 || k[0] != kindMAC {
		return m, false
	}
	return lease.MAC([]byte(k[1:])), true
}

// String is for people.
func (k Key) String() string {
	switch {
	case len(k) == 1+6 && k[0] == kindMAC:
		m, _ := k.MAC()
		return m.String()
	case len(k) > clientHead && k[0] == kindClient:
		return fmt.Sprintf("duid %s iaid %s", hex.EncodeToString([]byte(k[clientHead:])), hex.EncodeToString([]byte(k[1:5])))
	case len(k) == 1+16 && k[0] == kindQuarantine:
		return "quarantine"
	}
	return "nobody"
}
