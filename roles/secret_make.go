package roles

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// random gives n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return b
}

// letters are those of a password: 62, which every configuration file takes without quotes.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// newPassword gives n random letters and digits.
func newPassword(n int) []byte {
	const even = 256 - 256%len(letters) // a byte above would prefer the first letters
	out := make([]byte, 0, n)
	for len(out) < n {
		for _, b := range random(n) {
			if int(b) < even && len(out) < n {
				out = append(out, letters[int(b)%len(letters)])
			}
		}
	}
	return out
}

// newKey gives n random bytes in base64.
func newKey(n int) []byte {
	return []byte(base64.StdEncoding.EncodeToString(random(n)))
}

// dnsNameRE is a DNS name, perhaps with a wildcard as its first label (RFC 1034 §3.5, RFC 6125 §6.4.3).
var dnsNameRE = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// recordNameRE is the name of a DNS record: underscores are for SRV and the like (RFC 8552).
var recordNameRE = regexp.MustCompile(`^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}$`)

// namesMax bounds the names of a certificate: clients refuse chains of 64 KiB and more.
const namesMax = 500

// names are those of a certificate for the slot (or, by its scope, the pool p) with these data.
func (s SecretSpec) names(d FileData, p Pool) ([]string, error) {
	var out []string
	for _, text := range s.Names {
		t, err := parseTemplate(text, nil)
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", text, err)
		}
		b, _, err := t.render(d)
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", text, err)
		}
		// A template over the members gives several.
		out = append(out, strings.Fields(string(b))...)
	}
	if len(s.Names) == 0 {
		out = []string{d.FQDN}
		if s.scope() == scopePool {
			out = p.certNames(d.Domain)
		}
	}
	if len(out) == 0 || len(out) > namesMax {
		return nil, fmt.Errorf("a certificate has 1 to %d names, not %d", namesMax, len(out))
	}
	for _, n := range out {
		if _, err := netip.ParseAddr(n); err != nil && (len(n) > 253 || !dnsNameRE.MatchString(n)) {
			return nil, fmt.Errorf("%q is not a DNS name", n)
		}
	}
	slices.Sort(out[1:])
	return slices.Compact(out), nil
}

// certNames are those of a certificate for all of p: its own, and those of every slot that fits into its addresses,
// so that it may grow; namesMax at most.
func (p Pool) certNames(domain string) []string {
	out := []string{fqdn(p.Name, domain)}
	for i := 1; i <= p.Addresses.Len() && len(out) < namesMax; i++ {
		out = append(out, fqdn(p.SlotName(i), domain))
	}
	return out
}
