package leasefile

import (
	"bytes"
	"strconv"
	"strings"
)

// leastTime is a number of seconds that is no time since 1970 any more, but how long a lease lasts: dnsmasq writes
// that where it was built for machines without a clock (HAVE_BROKEN_RTC).
const leastTime = 10 * 365 * 86400

// dnsmasq reads dnsmasq.leases: EXPIRY MAC ADDRESS NAME CLIENT-ID a line, "*" for none, 0 for never; after a line
// "duid …" the same of DHCPv6.
func (p *parser) dnsmasq(b []byte) {
	n, v6 := 0, false
	for line := range bytes.Lines(b) {
		n++
		f := strings.Fields(string(line))
		switch {
		case len(f) == 0 || f[0][0] == '#':
		case f[0] == "duid":
			v6 = true
		case v6:
			p.v6++
		case len(f) < 4:
			p.fault(n, "want EXPIRY MAC ADDRESS NAME, separated by blanks")
		default:
			p.dnsmasqLine(n, f)
		}
	}
}

func (p *parser) dnsmasqLine(n int, f []string) {
	e := Entry{Line: n}
	seconds, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || seconds < 0 {
		p.fault(n, "%q is not a time in seconds since 1970", f[0])
		return
	}
	if seconds > 0 && seconds < leastTime {
		p.fault(n, "%q is not a time: dnsmasq was built for a machine without a clock, and the file does not say when the lease ends", f[0])
		return
	}
	if e.Expires = ends(seconds); seconds == 0 {
		e.Expires = Never
	}
	if e.Addr, err = address(f[2]); err != nil {
		p.fault(n, "%v", err)
		return
	}
	// "20-00:11:…" is a MAC of another kind of network than Ethernet.
	if len(f[1]) < 3 || f[1][2] != '-' {
		if e.MAC, err = hardware(f[1]); err != nil {
			p.fault(n, "%v", err)
			return
		}
	}
	if f[3] != "*" {
		e.Hostname = f[3]
	}
	p.put(e)
}
