package leasefile

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// The states of a lease in Kea's memfile; 0 is held.
const (
	keaDeclined = "1"
	// keaForever is the lifetime of a lease without end.
	keaForever = "4294967295"
)

// keaEscape is how Kea writes a comma inside of a field.
const keaEscape = "&#x2c"

// kea reads kea-leases4.csv: a log, in which the last line of an address counts and one with a lifetime of 0 deletes
// it. The columns are found by their names. Several of its files (.2, .1, and the one without a number) may follow
// each other, each with its head.
func (p *parser) kea(b []byte) error {
	var head []string
	n := 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		row := strings.Split(text, ",")
		switch {
		case text == "":
		case row[0] == "address":
			head = row
			for _, name := range []string{"valid_lifetime", "expire"} {
				if !slices.Contains(head, name) {
					return fmt.Errorf("leasefile: line %d: there is no column %s: this is not a lease file of Kea: %w", n, name, fs.ErrInvalid)
				}
			}
		case head == nil:
			return fmt.Errorf("leasefile: line %d: want the names of the columns first (address,hwaddr,…): %w", n, fs.ErrInvalid)
		case slices.Contains(head, "duid"):
			p.v6++
		case len(row) < len(head):
			p.fault(n, "it has %d columns, and the head %d", len(row), len(head))
		default:
			p.keaLine(n, func(name string) string {
				if i := slices.Index(head, name); i >= 0 {
					return strings.ReplaceAll(row[i], keaEscape, ",")
				}
				return ""
			})
		}
	}
	return nil
}

func (p *parser) keaLine(n int, get func(name string) string) {
	e := Entry{Line: n}
	var err error
	if e.Addr, err = address(get("address")); err != nil {
		p.fault(n, "%v", err)
		return
	}
	seconds, err := strconv.ParseInt(get("expire"), 10, 64)
	if err != nil {
		p.fault(n, "%q is not a time in seconds since 1970", get("expire"))
		return
	}
	switch life := get("valid_lifetime"); {
	case life == "0":
		delete(p.last, e.Addr)
		return
	case life == keaForever:
		e.Expires = Never
	default:
		e.Expires = ends(seconds)
	}
	switch state := get("state"); state {
	case "", "0":
	case keaDeclined:
		e.Declined = true
	default:
		e.Free = true // 2: ran out, 3: released
	}
	// Of an address that was declined Kea forgets who held it. 20 bytes are InfiniBand's.
	if hw := get("hwaddr"); strings.Count(hw, ":") == 5 {
		if e.MAC, err = hardware(hw); err != nil {
			p.fault(n, "%v", err)
			return
		}
	}
	e.Hostname = strings.TrimSuffix(get("hostname"), ".")
	p.put(e)
}
