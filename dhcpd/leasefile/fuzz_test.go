package leasefile

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"muster/dhcpd/lease"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// FuzzParse: whatever a file says, what is read of it is in order, has places in the file, and survives Muster's own
// formats.
func FuzzParse(f *testing.F) {
	for i, name := range []string{"isc.leases", "dnsmasq.leases", "kea.csv"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b)
	}
	f.Add(byte(3), []byte("address,mac,hostname,expires,state\n10.0.0.1,02:00:00:00:00:01,\"x,\"\"y\",2026-03-01T08:00:00Z,active\n"))
	f.Add(byte(4), []byte(`[{"address": "10.0.0.1", "expires": "2026-03-01T08:00:00Z", "state": "declined"}]`))
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		file, err := Parse(b, Formats[int(n)%len(Formats)])
		if err != nil {
			return
		}
		lines := 1 + bytes.Count(b, []byte("\n"))
		for _, x := range file.Faults {
			if x.Line < 1 || x.Line > lines || x.Msg == "" {
				t.Errorf("fault %+v in a file of %d lines", x, lines)
			}
		}
		var held []lease.Lease
		for i, e := range file.Entries {
			if e.Line < 1 || e.Line > lines || !e.Addr.Is4() || e.Expires.After(Never) || i > 0 && !file.Entries[i-1].Addr.Less(e.Addr) {
				t.Fatalf("entry %d: %+v", i, e)
			}
			if !e.Free {
				held = append(held, e.Keep())
			}
		}
		for _, format := range []Format{CSV, JSON} {
			var out bytes.Buffer
			if err := Write(&out, format, held, time.Unix(-1, 0)); err != nil {
				t.Fatal(err)
			}
			again, err := Parse(out.Bytes(), format)
			if err != nil || len(again.Faults) > 0 || len(again.Entries) != len(held) {
				t.Fatalf("%s: %v, %+v of %d leases:\n%s", format, err, again, len(held), &out)
			}
			for i, e := range again.Entries {
				// A CSV has one kind of line end.
				if got := e.Keep(); got != held[i] && !bytes.ContainsRune([]byte(held[i].Hostname), '\r') {
					t.Fatalf("%s: wrote %+v, read %+v", format, held[i], got)
				}
			}
		}
	})
}
