package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// addrText is an address; empty for none.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// join puts words together with blanks, without those that are empty.
func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

// label puts a name before a value; empty for no value.
func label(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

func labelText(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, " ")
}

// sizeText is a number of bytes with three significant digits or so: 1.2 GiB.
func sizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	prec := 1
	if f >= 100 {
		prec = 0
	}
	return fmt.Sprintf("%.*f %ciB", prec, f, "KMGTP"[unit])
}

func speedText(mbit int) string {
	switch {
	case mbit <= 0:
		return ""
	case mbit%1000 == 0:
		return fmt.Sprintf("%d Gbit/s", mbit/1000)
	}
	return fmt.Sprintf("%d Mbit/s", mbit)
}

func linkText(up bool) string {
	if up {
		return "link"
	}
	return "no link"
}

// plural is "1 slot" or "3 slots".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
