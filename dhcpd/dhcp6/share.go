package dhcp6

import (
	"time"

	"muster/dhcpd/lease6"
)

// sharers are the IAs that use a machine's one address at the same time, each until its lifetime ends. UEFI firmware
// (OVMF 2022.11, booting over HTTP where router advertisements have the M flag) asks twice, for its boot driver and for
// its IP stack, and releases the one while it loads by the other: the address is free when the last of them released
// it. A restart forgets them; then the first Release counts.
type sharers map[lease6.Key]map[[4]byte]time.Time

const (
	// maxIAs bounds the IAs of one machine that are remembered, more than the programs of one boot.
	maxIAs = 8
	// maxSharers bounds the machines.
	maxSharers = 100_000
)

// use notes that an IA has the address until a time.
func (s sharers) use(k lease6.Key, iaid [4]byte, until time.Time) {
	ias := s[k]
	if ias == nil {
		if len(s) >= maxSharers {
			clear(s)
		}
		ias = map[[4]byte]time.Time{}
		s[k] = ias
	}
	if _, ok := ias[iaid]; ok || len(ias) < maxIAs {
		ias[iaid] = until
	}
}

// release notes that an IA gave the address back, and reports whether another one still has it.
func (s sharers) release(k lease6.Key, iaid [4]byte, now time.Time) (shared bool) {
	delete(s[k], iaid)
	for _, until := range s[k] {
		if until.After(now) {
			return true
		}
	}
	delete(s, k)
	return false
}
