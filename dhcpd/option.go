package dhcpd

import (
	"bytes"
	"encoding/hex"
)

// text is b without the closing zero byte of C strings, which some clients count.
func text(b []byte) []byte { return bytes.TrimRight(b, "\x00") }

// hostname is b if it is a host name as RFC 1123 §2.1 has them, of one or more labels; otherwise empty. What
// machines say goes into tables, zones and terminals.
func hostname(b []byte) string {
	if len(b) == 0 || len(b) > 63 || b[0] == '-' || b[0] == '.' {
		return ""
	}
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return ""
		}
	}
	return string(b)
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
	u = []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
	var s [36]byte
	for at := 0; len(u) > 0; { // the groups are of 8, 4, 4, 4 and 12 digits
		if at == 8 || at == 13 || at == 18 || at == 23 {
			s[at] = '-'
			at++
		}
		hex.Encode(s[at:], u[:1])
		at, u = at+2, u[1:]
	}
	return string(s[:])
}

// isIPXE recognises iPXE by its user class, which it sends without the length bytes of RFC 3004 §4 (with them
// is understood as well).
func isIPXE(class string) bool { return class == "iPXE" || class == "\x04iPXE" }
