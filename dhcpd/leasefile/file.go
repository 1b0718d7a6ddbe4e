package leasefile

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"muster/dhcpd/lease"
)

// Format is what a file is written in.
type Format string

// The formats.
const (
	ISC     Format = "isc"     // dhcpd.leases of ISC dhcpd
	Dnsmasq Format = "dnsmasq" // dnsmasq.leases
	Kea     Format = "kea"     // kea-leases4.csv, the memfile of Kea
	CSV     Format = "csv"     // Muster's own, as Write makes it
	JSON    Format = "json"    // Muster's own, as Write makes it
)

// Formats are all of them.
var Formats = []Format{ISC, Dnsmasq, Kea, CSV, JSON}

// Never is the end of a lease that has none: the last second of 32 bits, which every lease store can hold.
var Never = time.Unix(1<<32-1, 0).UTC()

// Entry is what a file says last of one address.
type Entry struct {
	// Line is where that begins, from 1.
	Line int
	// Lease has a zero MAC where the holder is not known by an Ethernet address: of an address that was
	// declined, and of a machine on another kind of network. Expires is Never for a lease without end.
	lease.Lease
	// Free says that nobody holds the address any more: it was given back, or ran out, whatever Expires says.
	Free bool
}

// Fault is a line that was not understood, or not taken.
type Fault struct {
	// Line is its number, from 1.
	Line int
	// Msg says why, for people.
	Msg string
}

// File is what was read.
type File struct {
	Format Format
	// Entries are in the order of their addresses, one for each.
	Entries []Entry
	// Faults are in the order of their lines.
	Faults []Fault
	// V6 is the number of DHCPv6 leases that were passed over.
	V6 int
}

// Parse reads a file. The error wraps fs.ErrInvalid where it is none of the format at all; "" is the format that
// Detect finds.
func Parse(b []byte, format Format) (*File, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if format == "" {
		var err error
		if format, err = Detect(b); err != nil {
			return nil, err
		}
	}
	p := &parser{last: map[netip.Addr]Entry{}}
	var err error
	switch format {
	case ISC:
		p.isc(b)
	case Dnsmasq:
		p.dnsmasq(b)
	case Kea:
		err = p.kea(b)
	case CSV:
		err = p.csv(b)
	case JSON:
		err = p.json(b)
	default:
		err = fmt.Errorf("leasefile: %q is not a format (want isc, dnsmasq, kea, csv or json): %w", format, fs.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	f := &File{Format: format, Faults: p.faults, V6: p.v6, Entries: make([]Entry, 0, len(p.last))}
	for _, e := range p.last {
		f.Entries = append(f.Entries, e)
	}
	slices.SortFunc(f.Entries, func(a, b Entry) int { return a.Addr.Compare(b.Addr) })
	return f, nil
}

// Detect tells the format of a file by how it begins. The error wraps fs.ErrInvalid.
func Detect(b []byte) (Format, error) {
	for line := range bytes.Lines(b) {
		line := strings.TrimSpace(string(line))
		head, _, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "address,mac,"):
			return CSV, nil
		case strings.HasPrefix(line, "address,"):
			return Kea, nil
		case line[0] == '[':
			return JSON, nil
		case head == "duid" || isNumber(head):
			return Dnsmasq, nil
		case slices.Contains([]string{"lease", "authoring-byte-order", "server-duid", "host", "failover", "group", "ia-na", "ia-ta", "ia-pd"}, head):
			return ISC, nil
		}
		break
	}
	return "", fmt.Errorf("leasefile: this is not a lease file that is known; if it is one, say which format (isc, dnsmasq, kea, csv or json): %w", fs.ErrInvalid)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// parser collects what a file says.
type parser struct {
	last   map[netip.Addr]Entry
	faults []Fault
	v6     int
}

func (p *parser) fault(line int, format string, args ...any) {
	p.faults = append(p.faults, Fault{line, fmt.Sprintf(format, args...)})
}

// put keeps an entry in the place of what the file said of the address before. A name that is no text is none.
func (p *parser) put(e Entry) {
	e.Hostname = strings.ToValidUTF8(e.Hostname, "")
	p.last[e.Addr] = e
}

// address reads an IPv4 address.
func address(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, fmt.Errorf("%q is not an IPv4 address", s)
	}
	return a, nil
}

// hardware reads an Ethernet address in colon notation.
func hardware(s string) (lease.MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(lease.MAC{}) {
		return lease.MAC{}, fmt.Errorf("%q is not an Ethernet address", s)
	}
	return lease.MAC(hw), nil
}

// ends makes a time of seconds since 1970. Beyond Never it is Never.
func ends(seconds int64) time.Time {
	return time.Unix(max(min(seconds, Never.Unix()), 0), 0).UTC()
}
