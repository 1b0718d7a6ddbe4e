package roles

import (
	"errors"
	"fmt"
	"net"
)

// MAC is an Ethernet hardware address. It is a value: comparable, usable as a map key, and convertible
// from the [6]byte types of the protocol packages.
type MAC [6]byte

// ErrMAC is returned when a text is not a six-byte hardware address.
var ErrMAC = errors.New("not a MAC address (want the form 52:54:00:aa:00:01)")

// ParseMAC reads colon, hyphen or dot notation. The error wraps ErrMAC and quotes s.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("%q is %w", s, ErrMAC)
	}
	return MAC(hw), nil
}

// String gives the lower-case colon form, 52:54:00:aa:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsZero reports whether m is the zero value, which names no machine.
func (m MAC) IsZero() bool { return m == MAC{} }

// MarshalText implements encoding.TextMarshaler; the zero MAC is the empty text.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	p, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = p
	return nil
}
