package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration. It is an fs.ErrInvalid.
type Fault struct {
	// File and Line say where; "" and 0 where there is none.
	File string
	Line int
	// Key is the full key: dhcpd.subnets[0].range. Empty for the file as a whole.
	Key string
	// Msg says what is wrong and what to do.
	Msg string
}

// Error has the form of a compiler's: muster.yaml:7: dhcpd.subnets[0].range: …
func (f *Fault) Error() string {
	var b strings.Builder
	switch {
	case f.File != "" && f.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	case f.File != "":
		fmt.Fprintf(&b, "%s: ", f.File)
	case f.Line > 0:
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Msg)
	return b.String()
}

// Unwrap makes every fault an invalid input.
func (f *Fault) Unwrap() error { return fs.ErrInvalid }

// join orders faults by line and makes one error of them.
func join(file string, faults []*Fault) error {
	slices.SortStableFunc(faults, func(a, b *Fault) int { return a.Line - b.Line })
	errs := make([]error, len(faults))
	for i, f := range faults {
		f.File = file
		errs[i] = f
	}
	return errors.Join(errs...)
}
