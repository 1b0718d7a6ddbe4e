package agent

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseParams(t *testing.T) {
	got, err := ParseParams("BOOT_IMAGE=vmlinuz muster.ip=1.2.3.4/8 quiet muster.mac=52-54-00-AA-00-01 muster.token=a=b " +
		"muster.server=http://10.77.0.1:8080/,https://boot2 muster.ip=10.77.0.100/24 muster.gw=10.77.0.1 muster.gw muster.new=1 " +
		"muster.key=AQIDBAUGBwgJAAECAwQFBgcICQABAgMEBQYHCAkAAQI muster.pin=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Params{
		Servers: []string{"http://10.77.0.1:8080", "https://boot2"}, MAC: "52:54:00:aa:00:01", Token: "a=b",
		Address: netip.MustParsePrefix("10.77.0.100/24"), Gateway: netip.MustParseAddr("10.77.0.1"),
		Key: []byte("\x01\x02\x03\x04\x05\x06\x07\b\t\x00\x01\x02\x03\x04\x05\x06\x07\b\t\x00\x01\x02\x03\x04\x05\x06\x07\b\t\x00\x01\x02"),
		Pin: strings.Repeat("A", 43), Root: "nfs",
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestParseParamsSaysWhatIsWrong(t *testing.T) {
	const good = "muster.server=http://a muster.mac=52:54:00:aa:00:01 muster.ip=10.0.0.1/24 "
	for cmdline, want := range map[string]string{
		"":                                             "muster.server= is missing;muster.mac= is missing;muster.ip= is missing",
		good + "muster.server=ftp://a":                 `muster.server="ftp://a" is not`,
		good + "muster.server=http://a,":               `muster.server="http://a," is not`,
		good + "muster.server=http:///x":               "muster.server=",
		good + "muster.mac=52:54:00":                   `muster.mac="52:54:00" is not`,
		good + "muster.mac=52:54:00:aa:00:0g":          "muster.mac=",
		good + "muster.mac=5254:00:aa:00:001":          "muster.mac=",
		good + "muster.ip=10.0.0.1":                    `muster.ip="10.0.0.1" is not an IPv4 address with its prefix length`,
		good + "muster.ip=fe80::1/64":                  "muster.ip=",
		good + "muster.gw=router":                      `muster.gw="router" is not`,
		good + "muster.key=short":                      `muster.key="short" is not an Ed25519 public key`,
		good + "muster.pin=" + strings.Repeat("+", 43): "is not the SHA-256 of a TLS key",
		good + "muster.pin=" + strings.Repeat("B", 43): "muster.pin=", // bits that are no byte
	} {
		_, err := ParseParams(cmdline)
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", cmdline, err)
			continue
		}
		for w := range strings.SplitSeq(want, ";") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %q", cmdline, err, w)
			}
		}
	}
}

func FuzzParseParams(f *testing.F) {
	f.Add(cmdlineOfWeb)
	f.Add("muster.server=http://a muster.mac=52:54:00:aa:00:01 muster.ip=0.0.0.0/0")
	f.Fuzz(func(t *testing.T, cmdline string) {
		p, err := ParseParams(cmdline)
		if err != nil {
			return
		}
		if len(p.Servers) == 0 || !p.Address.IsValid() || strings.ToLower(p.MAC) != p.MAC || len(p.MAC) != 17 {
			t.Errorf("%q gives %+v", cmdline, p)
		}
	})
}
