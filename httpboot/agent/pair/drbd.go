package pair

import (
	"os"
	"strconv"
	"strings"
)

// drbd is what /proc/drbd of DRBD 8.4 says of minor 0, in its own words. Its zero value is that of a DRBD that is not
// loaded or not configured.
type drbd struct {
	// connection is cs: Connected, WFConnection, StandAlone, SyncTarget…
	connection string
	// role and disk are this half's, peerRole and peerDisk the other one's.
	role, peerRole string
	disk, peerDisk string
	// frozen says that DRBD holds up all reads and writes until its peer is fenced or back.
	frozen bool
	// synced is in percent and left in seconds, while a resync or a verification runs.
	synced float64
	left   int64
	// outOfSync is in KiB.
	outOfSync int64
}

// attached says that it has its disk.
func (d drbd) attached() bool {
	return d.disk != "" && d.disk != "Diskless" && d.disk != "Failed" && d.disk != "Attaching" && d.disk != "Detaching"
}

// configured says that DRBD has the resource, with or without its disk.
func (d drbd) configured() bool { return d.connection != "" }

// connected says that both halves talk to each other, be it to resync.
func (d drbd) connected() bool {
	switch d.connection {
	case "", "StandAlone", "Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown", "WFConnection", "WFReportParams":
		return false
	}
	return true
}

// verifying says that an online verification runs.
func (d drbd) verifying() bool { return d.connection == "VerifyS" || d.connection == "VerifyT" }

// drbd reads the state of the resource.
func (m *machine) drbd() drbd {
	b, err := os.ReadFile(m.path("/proc/drbd"))
	if err != nil {
		return drbd{}
	}
	return parseDRBD(string(b))
}

// parseDRBD reads /proc/drbd.
func parseDRBD(text string) drbd {
	var d drbd
	ours := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if minor, ok := strings.CutSuffix(f[0], ":"); ok {
			if _, err := strconv.Atoi(minor); err == nil {
				ours = minor == "0"
			}
		}
		if ours {
			d.take(f)
		}
	}
	if d.connection == "Unconfigured" {
		return drbd{}
	}
	return d
}

func (d *drbd) take(fields []string) {
	for i, f := range fields {
		k, v, _ := strings.Cut(f, ":")
		next := ""
		if i+1 < len(fields) {
			next = fields[i+1]
		}
		switch k {
		case "cs":
			d.connection = v
		case "ro":
			d.role, d.peerRole, _ = strings.Cut(v, "/")
		case "ds":
			d.disk, d.peerDisk, _ = strings.Cut(v, "/")
			if i+1 < len(fields) { // "C s-----": the protocol, unless it is StandAlone, and first of the flags s for suspended or r for running
				d.frozen = strings.HasPrefix(fields[len(fields)-1], "s")
			}
		case "oos":
			d.outOfSync = max(0, number(v))
		case "sync'ed", "verified":
			p, err := strconv.ParseFloat(strings.TrimSuffix(next, "%"), 64)
			if err == nil && p >= 0 && p <= 100 {
				d.synced = p
			}
		case "finish":
			d.left = clock(next)
		}
	}
}

// clock reads h:mm:ss as seconds; 0 for anything else.
func clock(s string) int64 {
	total := int64(0)
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0
	}
	for _, p := range parts {
		n := number(p)
		if n < 0 || n > 1<<40 {
			return 0
		}
		total = total*60 + n
	}
	return total
}

// number reads a decimal number; -1 for anything else.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
