package leasefile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"time"

	"muster/dhcpd/lease"
)

// The states in Muster's own files.
const (
	Active   = "active"   // somebody has the address
	Expired  = "expired"  // somebody had it, and gets it back while it is free
	Declined = "declined" // a machine found it in use by another one; nobody gets it until it expires
)

// State tells a lease's at a time.
func State(l lease.Lease, now time.Time) string {
	switch {
	case !l.Active(now):
		return Expired
	case l.Declined:
		return Declined
	}
	return Active
}

// columns are those of the CSV, and the keys of the JSON.
var columns = []string{"address", "mac", "hostname", "expires", "state"}

// record is a lease in JSON.
type record struct {
	Address  string `json:"address"`
	MAC      string `json:"mac,omitempty"`
	Hostname string `json:"hostname,omitempty"`
	Expires  string `json:"expires"`
	State    string `json:"state"`
}

// recordOf is a lease as a file has it: of an address that was declined nobody's MAC.
func recordOf(l lease.Lease, now time.Time) record {
	r := record{Address: l.Addr.String(), Hostname: l.Hostname, Expires: l.Expires.UTC().Format(time.RFC3339), State: State(l, now)}
	if !l.Declined && l.MAC != (lease.MAC{}) {
		r.MAC = l.MAC.String()
	}
	return r
}

// Write writes leases in CSV or JSON, as they are at now. The error wraps fs.ErrInvalid for another format.
func Write(w io.Writer, format Format, leases []lease.Lease, now time.Time) error {
	switch format {
	case CSV:
		c := csv.NewWriter(w)
		rows := [][]string{columns}
		for _, l := range leases {
			r := recordOf(l, now)
			rows = append(rows, []string{r.Address, r.MAC, r.Hostname, r.Expires, r.State})
		}
		return c.WriteAll(rows)
	case JSON:
		rows := make([]record, 0, len(leases))
		for _, l := range leases {
			rows = append(rows, recordOf(l, now))
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(rows)
	}
	return fmt.Errorf("leasefile: %q is not a format to write (want csv or json): %w", format, fs.ErrInvalid)
}

// csv reads what Write wrote. A line that is broken costs itself alone.
func (p *parser) csv(b []byte) error {
	c := csv.NewReader(bytes.NewReader(b))
	c.FieldsPerRecord = -1
	for first := true; ; first = false {
		row, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if bad := (*csv.ParseError)(nil); errors.As(err, &bad) {
			p.fault(bad.StartLine, "%v", bad.Err)
			continue
		}
		if err != nil {
			return err
		}
		line, _ := c.FieldPos(0)
		switch {
		case first && row[0] == columns[0]:
		case len(row) != len(columns):
			p.fault(line, "it has %d columns, want %d: %v", len(row), len(columns), columns)
		default:
			p.record(line, record{row[0], row[1], row[2], row[3], row[4]})
		}
	}
}

// json reads what Write wrote.
func (p *parser) json(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	where := func() int { return 1 + bytes.Count(b[:d.InputOffset()], []byte("\n")) }
	fail := func(err error) error {
		return fmt.Errorf("leasefile: line %d: this is not a JSON array of leases: %v: %w", where(), err, fs.ErrInvalid)
	}
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fail(fmt.Errorf("want [, got %v (%v)", t, err))
	}
	for d.More() {
		var r record
		var mismatch *json.UnmarshalTypeError
		switch err := d.Decode(&r); {
		case errors.As(err, &mismatch):
			p.fault(where(), "%v", err)
		case err != nil:
			return fail(err)
		default:
			p.record(where(), r)
		}
	}
	return nil
}

func (p *parser) record(line int, r record) {
	if a, err := netip.ParseAddr(r.Address); err == nil && a.Is6() && !a.Is4In6() {
		p.v6++
		return
	}
	e := Entry{Line: line}
	var errs [3]error
	e.Addr, errs[0] = address(r.Address)
	if e.Expires, errs[1] = time.Parse(time.RFC3339, r.Expires); errs[1] != nil {
		errs[1] = fmt.Errorf("%q is not a time (want the form 2026-03-01T08:00:00Z)", r.Expires)
	}
	e.Expires = ends(e.Expires.Unix())
	if r.MAC != "" {
		e.MAC, errs[2] = hardware(r.MAC)
	}
	if err := errors.Join(errs[:]...); err != nil {
		p.fault(line, "%v", err)
		return
	}
	e.Hostname = r.Hostname
	switch r.State {
	case Active:
	case Expired:
		e.Free = true
	case Declined:
		e.Declined, e.MAC = true, lease.MAC{}
	default:
		p.fault(line, "%q is not a state (want active, expired or declined)", r.State)
		return
	}
	p.put(e)
}

// Keep is the lease that keeps the entry's address for its holder; where nobody is known, from everybody.
func (e Entry) Keep() lease.Lease {
	if e.Declined || e.MAC == (lease.MAC{}) || e.MAC.Group() {
		return Quarantine(e.Addr, e.Expires)
	}
	return e.Lease
}

// Quarantine is the lease that keeps an address from everybody until a time.
func Quarantine(a netip.Addr, until time.Time) lease.Lease {
	return lease.Lease{MAC: lease.Quarantine(a), Addr: a, Expires: until, Declined: true}
}
