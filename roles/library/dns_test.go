package library

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"muster/tests/names"
)

// ask lets kdig ask a node, and gives status, flags and answers in few words: "NOERROR aa www.example.org. A 192.0.2.7".
func (x *node) ask(args ...string) (string, error) {
	out, err := x.client("kdig", append([]string{"@" + x.address, "+timeout=2", "+retry=0"}, args...)...)
	if err != nil {
		return "", err
	}
	var words []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if _, rest, ok := strings.Cut(line, "status: "); ok {
			status, _, _ := strings.Cut(rest, ";")
			words = append(words, status)
		}
		if strings.HasPrefix(line, ";; Flags:") && strings.Contains(line, " aa") {
			words = append(words, "aa")
		}
		if len(f) > 4 && f[2] == "IN" && !strings.HasPrefix(line, ";") {
			words = append(words, f[0]+" "+strings.Join(f[3:], " "))
		}
	}
	return strings.Join(words, " "), nil
}

func (x *node) wantAnswer(want string, args ...string) {
	x.t.Helper()
	x.eventually(strings.Join(args, " "), func() error {
		got, err := x.ask(append([]string{"+noauthority", "+noadditional"}, args...)...)
		if err == nil && got != want {
			err = fmt.Errorf("%q, want %q", got, want)
		}
		return err
	})
}

const tsig = "c2VjcmV0IG9mIHRoZSBoaWRkZW4gcHJpbWFyeSBzZXJ2ZXI="

// upstream makes a slot the rest of the Internet: the root, a zone that is far away, and the hidden primary.
func (x *node) upstream() {
	x.t.Helper()
	x.run("mkdir", "-p", "/srv/up")
	for name, text := range names.Files("/srv/up", netip.MustParseAddr("10.77.0.22"), netip.MustParseAddr("10.77.0.21"), tsig) {
		x.put("/srv/up/"+name, []byte(text), 0o644)
	}
	x.daemon("knotd", "-c", "/srv/up/knot.conf")
}

// hidden changes the zone of the hidden primary.
func (x *node) hidden(serial int, lines string) {
	x.put("/srv/up/hidden.example.zone", []byte(names.Zone(serial, lines)), 0o644)
}

func (x *node) startDNS() {
	x.t.Helper()
	x.run("nft", "-f", "/etc/nftables.conf")
	x.run("/usr/local/lib/muster/zones", "write")
	x.run("mkdir", "-p", "/run/knot")
	x.run("chown", "knot:knot", "/run/knot", "/var/lib/knot")
	x.run("knotc", "conf-check")
	x.run("unbound-checkconf")
	x.daemon("setpriv", "--reuid=knot", "--regid=knot", "--init-groups", "--ambient-caps=+net_bind_service", "--inh-caps=+net_bind_service", "knotd")
	x.daemon("unbound", "-d", "-p")
	x.daemon("/usr/local/lib/muster/zones", "watch")
	x.healthy()
}

func TestDNS(t *testing.T) {
	s := newSite(t, "dns", "{primary: 10.77.0.22, primaryZones: [hidden.example], roots: {a.root-servers.name: 10.77.0.22}, dnssec: false}")
	if _, err := s.registry.SetSecret(t.Context(), "pool/dns/tsig", []byte(tsig)); err != nil {
		t.Fatal(err)
	}
	up := s.start(2)
	up.upstream()
	x := s.start(1)
	x.verify()
	s.write("zones", "example.org.zone", names.Zone(1, "www 60 A 192.0.2.7\nfar 60 CNAME www.far.name.\nsub 60 NS a.root-servers.name."))
	x.startDNS()
	s.must(s.rack.Command(t.Context(), "ip", "addr", "add", "203.0.113.1/32", "dev", "br0"))
	stranger := []string{"-b", "203.0.113.1"}
	as := func(who []string, args ...string) []string { return append(append([]string{}, who...), args...) }

	// The world gets authoritative answers for the zones here, and nothing else.
	for _, transport := range []string{"+notcp", "+tcp"} {
		x.wantAnswer("NOERROR aa www.example.org. A 192.0.2.7", as(stranger, transport, "www.example.org")...)
		x.wantAnswer("NXDOMAIN aa", as(stranger, transport, "none.example.org")...)
		x.wantAnswer("NOERROR aa far.example.org. CNAME www.far.name.", as(stranger, transport, "far.example.org")...)
		x.wantAnswer("NOERROR aa www.hidden.example. A 192.0.2.1", as(stranger, transport, "www.hidden.example")...)
		x.wantAnswer("REFUSED", as(stranger, transport, "www.far.name")...)
		x.wantAnswer("REFUSED", as(stranger, transport, ".", "NS")...)
		x.wantAnswer("NOTAUTH", as(stranger, transport, "muster.internal", "SOA")...)
		x.wantAnswer("REFUSED", as(stranger, transport, "-p", "5335", "www.far.name")...)

		// The pool's network gets everything, and aliases are followed.
		x.wantAnswer("NOERROR www.far.name. A 198.51.100.7", transport, "www.far.name")
		x.wantAnswer("NOERROR www.example.org. A 192.0.2.7", transport, "www.example.org")
		x.wantAnswer("NOERROR far.example.org. CNAME www.far.name. www.far.name. A 198.51.100.7", transport, "far.example.org")
		x.wantAnswer("NOERROR www.hidden.example. A 192.0.2.1", transport, "www.hidden.example")
		x.wantAnswer("NXDOMAIN", transport, "none.name.")
	}
	if out, err := s.client("kdig", "@"+x.address, "-b", "203.0.113.1", "example.org", "AXFR"); err == nil && strings.Contains(out, "192.0.2.7") {
		t.Errorf("a stranger gets a zone:\n%s", out)
	}
	if out, err := s.client("kdig", "@"+x.address, "-b", "203.0.113.1", "-y", "hmac-sha256:muster:"+tsig, "example.org", "AXFR"); err != nil || !strings.Contains(out, "192.0.2.7") {
		t.Errorf("who has the key gets no zone: %v\n%s", err, out)
	}

	// Zones of the volume.
	s.write("zones", "example.net.zone", names.Zone(1, "www 60 A 192.0.2.8"))
	s.write("zones", "77.10.in-addr.arpa.zone", names.Zone(1, "9.0 60 PTR nine.example.net."))
	s.write("zones", "-bad ;name.zone", "no zone")
	s.write("zones", "Upper.example.zone", names.Zone(1, ""))
	// Each of these would keep Knot from reading the others.
	s.write("zones", "muster.internal.zone", names.Zone(1, ""))
	s.write("zones", "hidden.example.zone", names.Zone(1, ""))
	s.write("zones", strings.Repeat("a", 64)+".example.zone", names.Zone(1, ""))
	x.wantAnswer("NOERROR aa www.example.net. A 192.0.2.8", as(stranger, "www.example.net")...)
	x.wantAnswer("NOERROR www.example.net. A 192.0.2.8", "www.example.net")
	x.wantAnswer("NOERROR 9.0.77.10.in-addr.arpa. PTR nine.example.net.", "-x", "10.77.0.9")
	// A new record is there for those who asked before, too; a mistake leaves the old ones.
	x.wantAnswer("NXDOMAIN", "new.example.net")
	s.write("zones", "example.net.zone", names.Zone(2, "www 60 A 192.0.2.9\nnew 60 A 192.0.2.10"))
	x.wantAnswer("NOERROR www.example.net. A 192.0.2.9", "www.example.net")
	x.wantAnswer("NOERROR new.example.net. A 192.0.2.10", "new.example.net")
	s.write("zones", "example.net.zone", names.Zone(3, "www 60 A 192.0.2.11\nnew 60 AAAA 192.0.2.10"))
	s.write("zones", "example.com.zone", names.Zone(1, "www 60 A 192.0.2.12"))
	x.wantAnswer("NOERROR www.example.com. A 192.0.2.12", "www.example.com") // it was looked at after the mistake
	x.wantAnswer("NOERROR www.example.net. A 192.0.2.9", "www.example.net")
	if err := os.Remove(s.volume("zones") + "/example.com.zone"); err != nil {
		t.Fatal(err)
	}
	x.wantAnswer("REFUSED", as(stranger, "www.example.com")...)

	// Zones of the primary.
	up.hidden(2, "www 60 A 192.0.2.2")
	up.run("knotc", "-c", "/srv/up/knot.conf", "zone-reload", "hidden.example")
	x.wantAnswer("NOERROR aa www.hidden.example. A 192.0.2.2", as(stranger, "www.hidden.example")...)
	s.eventually("zone file", func() error {
		if out, err := x.try("grep", "192.0.2.2", "/var/lib/knot/hidden.example.zone"); err != nil {
			return errors.New(out)
		}
		return nil
	})
	// Others than Knot send their NOTIFY by UDP.
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(up.pid), "--net", "kdig", "@"+x.address, "-y", "hmac-sha256:muster:"+tsig, "hidden.example", "NOTIFY=3").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "status: NOERROR") {
		t.Errorf("NOTIFY by UDP: %v\n%s", err, out)
	}

	// The primary is lost, and the node is replaced.
	up.kill()
	x.kill()
	y := s.start(1)
	y.startDNS()
	y.wantAnswer("NOERROR aa www.hidden.example. A 192.0.2.2", as(stranger, "www.hidden.example")...)
	y.wantAnswer("NOERROR www.hidden.example. A 192.0.2.2", "www.hidden.example")
}
