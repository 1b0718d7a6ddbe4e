package lease

import (
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet hardware address, comparable and usable as a map key.
type MAC [6]byte

// String gives the lower-case colon form, 52:54:00:aa:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it reads colon, hyphen or dot notation.
func (m *MAC) UnmarshalText(b []byte) error {
	hw, err := net.ParseMAC(string(b))
	if err != nil || len(hw) != len(m) {
		return fmt.Errorf("lease: %q is not a MAC address (want the form 52:54:00:aa:00:01)", b)
	}
	*m = MAC(hw)
	return nil
}

// Group reports whether m is a multicast or broadcast address, which no machine can have (IEEE 802, I/G bit).
func (m MAC) Group() bool { return m[0]&1 != 0 }

// Quarantine is the key of the lease that keeps a declined address from everybody: ff:ff and the address.
// It is a group address, so it never collides with a machine's.
func Quarantine(a netip.Addr) MAC {
	b := a.As4()
	return MAC{0xff, 0xff, b[0], b[1], b[2], b[3]}
}
