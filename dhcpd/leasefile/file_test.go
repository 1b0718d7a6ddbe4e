package leasefile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/dhcpd/lease"
)

// text shows what was read, a line for each entry and fault.
func text(f *File) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", f.Format)
	if f.V6 > 0 {
		fmt.Fprintf(&b, ", %d of IPv6", f.V6)
	}
	b.WriteByte('\n')
	for _, e := range f.Entries {
		state := "held"
		switch {
		case e.Free:
			state = "free"
		case e.Declined:
			state = "declined"
		}
		fmt.Fprintf(&b, "%d: %s %s %s %s %s\n", e.Line, e.Addr, e.MAC, e.Expires.Format(time.RFC3339), state, e.Hostname)
	}
	for _, x := range f.Faults {
		fmt.Fprintf(&b, "%d! %s\n", x.Line, x.Msg)
	}
	return b.String()
}

func check(t *testing.T, got *File, want string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(strings.TrimLeft(want, "\n"), "\n"), strings.Split(text(got), "\n")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestRealFiles reads what the servers of Debian 12 wrote (isc-dhcp-server 4.4.3, dnsmasq 2.90, Kea 2.2) while real
// clients asked them: of 03 there was a stranger on the wire, 04 released its address, 05 asked with two client
// identifiers, and 06 declined its address.
func TestRealFiles(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"isc.leases", `
isc
9: 10.88.0.100 52:54:00:88:00:01 2026-11-22T23:36:48Z held web-01
20: 10.88.0.101 52:54:00:88:00:02 2026-11-22T23:36:49Z held 
30: 10.88.0.102 52:54:00:88:00:03 2026-11-22T23:36:51Z held printer
42: 10.88.0.103 00:00:00:00:00:00 2026-11-23T22:36:52Z declined 
50: 10.88.0.104 52:54:00:88:00:04 2026-11-22T23:36:56Z held 
70: 10.88.0.105 52:54:00:88:00:05 2026-11-22T23:36:58Z held 
90: 10.88.0.106 00:00:00:00:00:00 2026-11-23T22:37:01Z declined 
99: 10.88.0.107 52:54:00:88:00:09 2026-11-22T23:37:02Z held 
`},
		{"dnsmasq.leases", `
dnsmasq, 1 of IPv6
6: 10.88.0.100 52:54:00:88:00:01 2026-11-22T23:37:29Z held web-01
5: 10.88.0.101 52:54:00:88:00:02 2026-11-22T23:37:12Z held 
4: 10.88.0.102 52:54:00:88:00:03 2026-11-22T23:37:16Z held printer
3: 10.88.0.104 52:54:00:88:00:04 2026-11-22T23:37:21Z held laptop
2: 10.88.0.105 52:54:00:88:00:05 2026-11-22T23:37:24Z held 
1: 10.88.0.160 52:54:00:88:00:09 2106-02-07T06:28:15Z held 
`},
		{"kea.csv", `
kea
11: 10.88.0.100 52:54:00:88:00:01 2026-11-22T23:37:37Z held web-01
3: 10.88.0.101 52:54:00:88:00:02 2026-11-22T23:37:34Z held 
4: 10.88.0.102 52:54:00:88:00:03 2026-11-22T23:37:35Z held printer
5: 10.88.0.103 52:54:00:88:00:04 2026-11-22T23:37:35Z held laptop.example
7: 10.88.0.104 52:54:00:88:00:05 2026-11-22T23:37:36Z held 
9: 10.88.0.105 00:00:00:00:00:00 2026-11-23T00:37:36Z declined 
10: 10.88.0.160 52:54:00:88:00:09 2026-11-22T23:37:36Z held 
`},
	} {
		t.Run(tt.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			f, err := Parse(b, "")
			if err != nil {
				t.Fatal(err)
			}
			check(t, f, tt.want)
		})
	}
}

func TestISC(t *testing.T) {
	f, err := Parse([]byte(`# comment { "
failover peer "a" state { my state normal at 0 2026/01/01 00:00:00; }
host old { dynamic; hardware ethernet 52:54:00:00:00:09; fixed-address 10.0.0.9; }
lease 10.0.0.1 { ends never; hardware ethernet 52:54:00:00:00:01; on expiry { set x = "}"; } client-hostname "a\042\\b."; }
lease 10.0.0.2 { ends epoch 1800000000; # 2027
  binding state released; hardware ethernet 52:54:00:00:00:02; }
lease 10.0.0.3 { ends 1 2026/13/01 00:00:00; }
lease 10.0.0.4 {
  ends 1 2026/12/01 00:00:00;
  hardware ethernet 52:54:00:00:00:04;
lease 10.0.0.5 {
  ends 1 2026/12/01 00:00:00;
  hardware infiniband 80:00:00:48;
  uid "no end;
}
lease 10.0.0.6 { hardware ethernet 52:54:00:00:00:06; }
lease ten { ends never; }
lease 10.0.0.7 ;
lease 10.0.0.8 { ends never; binding state lent; }
ia-na "\001\"}" { iaaddr fd00::1 { ends never; } }
lease 10.0.0.10 { ends never; hardware ethernet 52:54:00:00:00:0a; abandoned; }
lease 10.0.0.11 { ends never;`), "")
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, `
isc, 1 of IPv6
4: 10.0.0.1 52:54:00:00:00:01 2106-02-07T06:28:15Z held a"\b
5: 10.0.0.2 52:54:00:00:00:02 2027-01-15T08:00:00Z free 
11: 10.0.0.5 00:00:00:00:00:00 2026-12-01T00:00:00Z held 
21: 10.0.0.10 52:54:00:00:00:0a 2106-02-07T06:28:15Z declined 
3! host "old" is a fixed address and no lease: write it into dhcpd.subnets[].hosts of muster.yaml
7! lease 10.0.0.3: line 7: "1 2026/13/01 00:00:00" is not a time
8! lease 10.0.0.4 is not closed: the file was cut off, or is damaged here
16! lease 10.0.0.6 does not say when it ends
17! "ten" is not an IPv4 address
18! lease 10.0.0.7: want { and its statements
19! lease 10.0.0.8: line 19: "lent" is not a binding state
22! lease 10.0.0.11 is not closed: the file was cut off, or is damaged here
`)
}

func TestDnsmasq(t *testing.T) {
	f, err := Parse([]byte("0 20-00:11:22 10.0.0.1 * *\n3600 52:54:00:00:00:02 10.0.0.2 * *\nsoon 52:54:00:00:00:03 10.0.0.3 * *\n"+
		"1800000000 52:54:00:00:04 10.0.0.4 * *\n1800000000 52:54:00:00:00:05 10.0.0 * *\n\n1800000000 x\n"+
		"1800000000 52:54:00:00:00:06 10.0.0.6 six\nduid 00:01\n1800000000 1 fd00::1 * 00:01\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, `
dnsmasq, 1 of IPv6
1: 10.0.0.1 00:00:00:00:00:00 2106-02-07T06:28:15Z held 
8: 10.0.0.6 52:54:00:00:00:06 2027-01-15T08:00:00Z held six
2! "3600" is not a time: dnsmasq was built for a machine without a clock, and the file does not say when the lease ends
3! "soon" is not a time in seconds since 1970
4! "52:54:00:00:04" is not an Ethernet address
5! "10.0.0" is not an IPv4 address
7! want EXPIRY MAC ADDRESS NAME, separated by blanks
`)
}

func TestKea(t *testing.T) {
	f, err := Parse([]byte(`address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
10.0.0.1,52:54:00:00:00:01,,4294967295,1800000000,1,0,0,a&#x2cb,0,{ "x": 1&#x2c "y": 2 },0
10.0.0.2,52:54:00:00:00:02,,3600,1800000000,1,0,0,,0,,0
10.0.0.2,52:54:00:00:00:02,,0,1800000000,1,0,0,,0,,0
10.0.0.3,52:54:00:00:00:03,,3600,1800000000,1,0,0,,2,,0
10.0.0.4,52:54:00:00:00:04,,3600,1800000000
10.0.0.5,52:54:00:00:00:zz,,3600,1800000000,1,0,0,,0,,0
10.0.0.6,52:54:00:00:00:06,,3600,then,1,0,0,,0,,0
fd00::1,52:54:00:00:00:06,,3600,1800000000,1,0,0,,0,,0
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state
10.0.0.7,00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13,,3600,1800000000,1,0,0,,0
address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state
fd00::1,00:01,3600,1800000000,1,3600,0,1,128,0,0,,,0
`), "")
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, `
kea, 1 of IPv6
2: 10.0.0.1 52:54:00:00:00:01 2106-02-07T06:28:15Z held a,b
5: 10.0.0.3 52:54:00:00:00:03 2027-01-15T08:00:00Z free 
11: 10.0.0.7 00:00:00:00:00:00 2027-01-15T08:00:00Z held 
6! it has 5 columns, and the head 12
7! "52:54:00:00:00:zz" is not an Ethernet address
8! "then" is not a time in seconds since 1970
9! "fd00::1" is not an IPv4 address
`)
}

func TestNoLeaseFile(t *testing.T) {
	for _, tt := range []struct {
		text   string
		format Format
	}{{"", ""}, {"hello\n", ""}, {"<html>", ""}, {"10.0.0.1,x\n", Kea}, {"address,hwaddr\n", Kea}, {"{}", JSON}, {"[{", JSON}, {"x", "xml"}} {
		if f, err := Parse([]byte(tt.text), tt.format); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q as %q: %+v, %v", tt.text, tt.format, f, err)
		}
	}
}

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func TestOwnFormats(t *testing.T) {
	a := lease.Lease{MAC: lease.MAC{2, 0, 0, 0, 0, 1}, Addr: addr("10.0.0.1"), Expires: now.Add(time.Hour), Hostname: "a \"b\",\nc"}
	old := lease.Lease{MAC: lease.MAC{2, 0, 0, 0, 0, 2}, Addr: addr("10.0.0.2"), Expires: now.Add(-time.Hour)}
	bad := Quarantine(addr("10.0.0.3"), now.Add(time.Hour))
	for _, format := range []Format{CSV, JSON} {
		var b bytes.Buffer
		if err := Write(&b, format, []lease.Lease{a, old, bad}, now); err != nil {
			t.Fatal(err)
		}
		f, err := Parse(b.Bytes(), "")
		if err != nil || f.Format != format || len(f.Faults) > 0 || len(f.Entries) != 3 {
			t.Fatalf("%s: %+v, %v, of\n%s", format, f, err, &b)
		}
		got := []lease.Lease{f.Entries[0].Keep(), f.Entries[1].Lease, f.Entries[2].Keep()}
		if d := cmp.Diff([]lease.Lease{a, old, bad}, got, cmp.Comparer(func(a, b lease.Lease) bool { return a == b })); d != "" {
			t.Errorf("%s: -wrote +read:\n%s", format, d)
		}
		if !f.Entries[1].Free {
			t.Errorf("%s: a lease that has expired is held", format)
		}
	}
	if err := Write(&bytes.Buffer{}, ISC, nil, now); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("writing ISC's: %v", err)
	}
}

func TestOwnFaults(t *testing.T) {
	f, err := Parse([]byte("address,mac,hostname,expires,state\n10.0.0.1,,\"x\n10.0.0.1,02:00:00:00:00:01,,2026-03-01T08:00:00Z,active\n"), CSV)
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, "csv\n2! extraneous or missing \" in quoted-field\n")
	f, err = Parse([]byte("address,mac,hostname,expires,state\n10.0.0.1,,x\"y,,\n10.0.0.1,02:00:00:00:00:01,,2026-03-01T08:00:00Z,active\nfd00::1,,,2026-03-01T08:00:00Z,active\n10.0.0.2,,,2026-03-01T08:00:00Z,odd\n10.0.0.3,x,,soon,active\n"), CSV)
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, `
csv, 1 of IPv6
3: 10.0.0.1 02:00:00:00:00:01 2026-03-01T08:00:00Z held 
2! bare " in non-quoted-field
5! "odd" is not a state (want active, expired or declined)
6! "soon" is not a time (want the form 2026-03-01T08:00:00Z)
"x" is not an Ethernet address
`)
	f, err = Parse([]byte("[{\"address\": 5},\n{\"address\": \"10.0.0.1\", \"expires\": \"2026-03-01T08:00:00Z\", \"state\": \"declined\"}]"), JSON)
	if err != nil {
		t.Fatal(err)
	}
	check(t, f, `
json
2: 10.0.0.1 00:00:00:00:00:00 2026-03-01T08:00:00Z declined 
1! json: cannot unmarshal number into Go struct field record.address of type string
`)
}
