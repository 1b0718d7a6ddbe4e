package dhcpd

import (
	"bytes"
	"fmt"
	"iter"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// text reads an option as text. Some clients count the closing zero byte of their C strings.
func text(p *dhcpv4.DHCPv4, code dhcpv4.OptionCode) string {
	return string(bytes.TrimRight(p.Options.Get(code), "\x00"))
}

// hostname is s if it is a host name as RFC 1123 §2.1 has them, of one or more labels; otherwise empty. What
// machines say goes into tables, zones and terminals.
func hostname(s string) string {
	if len(s) > 63 || strings.HasPrefix(s, "-") || strings.HasPrefix(s, ".") {
		return ""
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return ""
		}
	}
	return s
}

// machineID reads option 97: a type, which must be 0, and the UUID as SMBIOS keeps it, its first three fields
// in little-endian order (SMBIOS 2.6 §7.2.1; firmware copies it from there). Empty if it is none.
func machineID(b []byte) string {
	if len(b) != 17 || b[0] != 0 {
		return ""
	}
	u := b[1:]
	if bytes.Count(u, []byte{0}) == 16 || bytes.Count(u, []byte{0xff}) == 16 {
		return "" // not set by the manufacturer
	}
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x",
		u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8:10], u[10:])
}

// isIPXE recognises iPXE by its user class, which it sends without the length bytes of RFC 3004 §4 (with them
// is understood as well), or by its own encapsulated options (175).
func isIPXE(p *dhcpv4.DHCPv4) bool {
	class := text(p, dhcpv4.OptionUserClassInformation)
	return class == "iPXE" || class == "\x04iPXE" || p.Options.Has(dhcpv4.OptionEtherboot)
}

// subOptions iterates over the sub-options of an encapsulating option, and stops at the first broken one.
func subOptions(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for len(b) >= 2 && len(b) >= 2+int(b[1]) {
			n := 2 + int(b[1])
			if !yield(b[0], b[2:n]) {
				return
			}
			b = b[n:]
		}
	}
}
